"""Scheme files of five points, as users write them."""

POINTS = """
points = ["left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner"]
flip = [1, 0, 2, 4, 3]
"""
FIVE = f"""
name = "five"
{POINTS}
five_points = [[0], [1], [2], [3], [4]]
contours = [{{ points = [0, 1] }}, {{ points = [3, 2, 4], closed = true }}]

[normalisers]
ocular = [[0], [1]]

[parts.regions]
eyes = [0, 1]
nose = [2]
mouth = [3, 4]
"""
