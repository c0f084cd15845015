#
# Pages in a real browser: headless chromium, with a profile of its own that is
# thrown away.
#
package MiosaBrowser;

use strict;
use warnings FATAL => 'all';

use Compress::Zlib qw(uncompress);
use Exporter qw(import);
use IPC::Run;
use PostgreSQL::Test::Utils;

our @EXPORT_OK = qw(browse colors framed);

my $dir;

# Run the browser on a file, and return what it prints.
sub browse
{
	my ($page, @what) = @_;
	my ($out, $err);

	$dir //= PostgreSQL::Test::Utils::tempdir_short();
	mkdir "$dir/home";
	local $ENV{HOME} = "$dir/home";
	# Nothing in the page needs the sandbox, which an unprivileged user in a
	# container, or root, cannot have.
	IPC::Run::run(
		[
			'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
			'--disable-background-networking', '--disable-component-update', '--hide-scrollbars',
			"--user-data-dir=$dir/profile", @what, "file://$page"
		],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(180)) or die "chromium: $err\n";
	return $out;
}

# A page that shows another one in a frame of this width, since a window has a
# least width, and writes down what is asked of the other's document d.
sub framed
{
	my ($file, $html, $width, $script) = @_;

	# It shall not be loaded again.
	$html =~ s/<meta http-equiv="refresh"[^>]*>//;
	$html =~ s/&/&amp;/g;
	$html =~ s/"/&quot;/g;
	PostgreSQL::Test::Utils::append_to_file($file, <<"EOF");
<!DOCTYPE html><html><head><meta charset="utf-8"><style>:root{color-scheme:light dark}body{margin:0}iframe{border:0;width:${width}px;height:2000px;display:block}</style></head>
<body><p id="found"></p><script>
function look() {
	const d = document.querySelector('iframe').contentDocument;

	document.querySelector('#found').textContent = JSON.stringify(($script)(d, d.defaultView));
}
</script><iframe onload="look()" srcdoc="$html"></iframe></body></html>
EOF
	return $file;
}

# How many colors a PNG of 8 bits a channel has.
sub colors
{
	my ($png) = @_;
	my ($at, $data, %colors) = (8, '');
	my ($width, $height, $depth, $type) = unpack 'NNCC', substr($png, 16, 10);
	my $size = $type == 6 ? 4 : 3;

	die "depth $depth, type $type\n" if $depth != 8 || $type != 6 && $type != 2;
	while ($at < length $png)
	{
		my ($length, $name) = unpack 'Na4', substr($png, $at, 8);
		$data .= substr($png, $at + 8, $length) if $name eq 'IDAT';
		$at += 12 + $length;
	}
	$data = uncompress($data);
	my @above = (0) x ($width * $size);
	for my $y (0 .. $height - 1)
	{
		my ($filter, @row) = unpack 'C*', substr($data, $y * ($width * $size + 1), $width * $size + 1);
		for my $x (0 .. $#row)
		{
			my ($left, $up, $corner) = ($x < $size ? 0 : $row[ $x - $size ], $above[$x], $x < $size ? 0 : $above[ $x - $size ]);
			my $estimate = $left + $up - $corner;
			my ($dl, $du, $dc) = (abs($estimate - $left), abs($estimate - $up), abs($estimate - $corner));
			$row[$x] = ($row[$x] + (0, $left, $up, int(($left + $up) / 2),
				$dl <= $du && $dl <= $dc ? $left : $du <= $dc ? $up : $corner)[$filter]) % 256;
		}
		$colors{ join ',', @row[ $_ * $size .. $_ * $size + 2 ] } = 1 for 0 .. $width - 1;
		@above = @row;
	}
	return scalar keys %colors;
}

1;
