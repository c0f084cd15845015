#
# Object storage that speaks S3 and checks every signature (test/js/s3.js).
# It keeps real objects in a folder, where they can be put, and deleted, by
# hand.
#
#   my $s3 = MiosaS3->new(dir => $dir)->start;   # keep; tls => {key =>, cert =>}
#   $s3->put('bucket', 'path/key', $content);
#   $s3->delete('bucket', 'path/key');
#   $s3->set(token => 'x');                      # options; see the program
#   $s3->state;  $s3->requests;  $s3->wait_for(1);
#
#   INSERT INTO miosa.secrets VALUES ('s3', '<secret>');
#   SELECT miosa_put_storage('s3://', '<url>', '<region>', secret => 's3');
#
package MiosaS3;

use strict;
use warnings FATAL => 'all';

use File::Basename qw(dirname);
use File::Path qw(make_path);
use parent qw(MiosaNode);

# As in the program.
use constant {
	ID => 'AKIDEXAMPLE',
	KEY => 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
	REGION => 'eu-central-1'
};

sub new
{
	my ($class, %arg) = @_;
	my $self = $class->SUPER::new(
		dir => $arg{dir},
		script => 's3',
		services => ['s3'],
		keep => $arg{keep},
		tls => $arg{tls} ? { s3 => $arg{tls} } : {});

	$self->{folder} = "$arg{dir}/objects";
	make_path($self->{folder});
	return $self;
}

sub start
{
	my ($self) = @_;

	$self->SUPER::start;
	return $self->set(folder => $self->{folder});
}

# What goes into miosa.secrets.
sub secret { my ($self, $token) = @_; return join ':', ID, KEY, $token // (); }
sub region { return REGION; }
sub url { my ($self) = @_; return $self->SUPER::url('s3'); }
sub port { my ($self) = @_; return $self->{port}{s3}; }

sub put
{
	my ($self, $bucket, $key, $content) = @_;
	my $file = $self->file($bucket, $key);

	make_path(dirname($file));
	open(my $fh, '>:raw', $file) or die "$file: $!\n";
	print $fh $content;
	close $fh or die "$file: $!\n";
	return $self;
}

sub delete
{
	my ($self, $bucket, $key) = @_;

	unlink($self->file($bucket, $key)) or die "$bucket/$key: $!\n";
	return $self;
}

# Where an object is.
sub file
{
	my ($self, $bucket, $key) = @_;

	return "$self->{folder}/$bucket/$key";
}

# A URL that allows one kind of request, for so long.
sub presign
{
	my ($self, $method, $bucket, $key, $seconds) = @_;

	$self->set(
		presign => {
			method => $method,
			url => $self->url . "/$bucket/$key",
			seconds => $seconds // 3600
		});
	return $self->state->{presigned};
}

# So many different keys of up to 30 characters, of every length in UTF-8 and
# of every kind that URLs treat in a way of their own.
sub random_keys
{
	my ($count) = @_;
	my @alphabet = (
		[ 0x01, 0x1F ], [ 0x20, 0x2F ], [ 0x30, 0x7E ], [ 0x7F, 0xFF ],
		[ 0x100, 0x7FF ], [ 0x800, 0xD7FF ], [ 0xE000, 0xFFFF ],
		[ 0x10000, 0x10FFFF ]);
	my (%seen, @key);

	while (@key < $count)
	{
		my $key = join '', map {
			my ($least, $most) = @{ $alphabet[ rand @alphabet ] };
			rand() < 0.15 ? '/' : chr($least + int rand($most - $least + 1))
		} 1 .. 1 + rand 30;

		# Noncharacters are characters, but Perl is not sure of that
		no warnings 'utf8';
		push @key, $key unless $seen{$key}++;
	}
	return @key;
}

sub set
{
	my ($self, %option) = @_;

	return $self->SUPER::set('s3', %option);
}

sub state { my ($self) = @_; return $self->SUPER::state('s3'); }

# Requests, marked by how their URL begins.
sub meant
{
	my ($self, $request, $mark) = @_;

	return index($request->{url}, $mark // '') == 0;
}

1;
