"""The figures' colours, shapes and sizes.

A panel is 360 px wide with text of 11 px, so that it stays legible on a phone; a wide screen shows several of them.
One colour means one regime throughout; shapes repeat it, for eyes that do not see colours.
"""

WIDTH = 360
TEXT = 11
INK, MUTED, RULE, TRACK = "#1b1f24", "#59636e", "#d8dde3", "#aab2bb"
# Okabe and Ito's palette, without its yellow (too pale for a line on white).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
