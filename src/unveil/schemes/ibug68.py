"""Where things are among the 68 points of iBUG: parts as slices, single landmarks as numbers. "Left" is the image's."""

JAW = slice(0, 17)
LEFT_BROW = slice(17, 22)
RIGHT_BROW = slice(22, 27)
BROWS = slice(17, 27)
NOSE_BRIDGE = slice(27, 31)
LOWER_NOSE = slice(29, 36)
NOSTRILS = slice(31, 36)
NOSE = slice(27, 36)
LEFT_EYE = slice(36, 42)
RIGHT_EYE = slice(42, 48)
UPPER_LIP = slice(48, 55)
OUTER_LIPS = slice(48, 60)
MOUTH = slice(48, 68)

LEFT_EAR, CHIN, RIGHT_EAR = 0, 8, 16
CHEEKS = (2, 14)
BETWEEN_EYES, BRIDGE, NOSE_TIP, NOSE_BASE = 27, 28, 30, 33
LOWER_LIP_MIDDLE = 57
NOSE_LINE = (27, 28, 29, 30, 33, 51)  # from between the eyes to the upper lip
LOWER_LIDS = ((40, 41), (46, 47))
MOUTH_OPENING = (62, 66)
