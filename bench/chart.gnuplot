# A chart of "make bench". bench/charts sets $data, svg, heading, x_label,
# y_label and series before, and which axes are logarithmic.
#
# Lines differ in their dashes and points too, so that colour is not needed; the
# colours are those of Okabe and Ito.

set terminal svg size 720,440 noenhanced background '#ffffff' font 'sans-serif,13'
set output svg
set datafile separator tab

set title heading
set xlabel x_label
set ylabel y_label
set key below maxcols 2 reverse Left width 2 height 0.7
set grid lc rgb '#dddddd' lt 1 lw 0.5
set border 3
set tics nomirror
set bars 0.5
set offsets graph 0.03, graph 0.03, 0, 0

set linetype 1 lc rgb '#0072b2' dt 1 lw 3 pt 7 ps 0.9
set linetype 2 lc rgb '#000000' dt 2 lw 2 pt 4 ps 0.9
set linetype 3 lc rgb '#d55e00' dt 4 lw 2 pt 8 ps 1.1
set linetype 4 lc rgb '#007a5a' dt 3 lw 2 pt 12 ps 1.1

# Median of the rounds, and their range as a bar.
plot for [i = 1:words(series)] $data index i - 1 using 2:3:4:5 \
	with yerrorlines linetype i title word(series, i)
