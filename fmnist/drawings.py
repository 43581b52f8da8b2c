"""Ten drawings of clothes that try to look like photographs, to ask networks about.

Outlines, seams and colours are data below; light, folds, shadow and the ground are computed, the
same each time. A plain module, without a notebook: its tests are in tests/test_use.py. It needs
Pillow alone.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .checks import check_choice

__all__ = ["DRAWINGS", "draw", "rendered"]

SIDE = 480  # pixels of a drawing's height
WIDTH = 600

# Name -> class that it should be, ground, its colour, and parts from back to front. A part is
# (kind, colour, points): "smooth" and "sharp" outlines, or "line"s; points in percent of the
# height, from the top left of a square.
DRAWINGS: dict[str, dict] = {
    "red T-shirt": dict(label="T-shirt/top", ground="plain", colour=(236, 236, 232), parts=[
        ("sharp", (176, 42, 48), [(36, 14), (22, 19), (4, 42), (18, 52), (26, 42), (26, 90),
                                  (74, 90), (74, 42), (82, 52), (96, 42), (78, 19), (64, 14),
                                  (58, 19), (50, 21), (42, 19)]),
        ("line", (120, 24, 30), [(36, 14), (42, 20), (50, 22), (58, 20), (64, 14)]),
        ("line", (130, 28, 34), [(26, 42), (26, 28)]),
        ("line", (130, 28, 34), [(74, 42), (74, 28)]),
    ]),
    "jeans": dict(label="Trouser", ground="wood", colour=(196, 170, 138), parts=[
        ("sharp", (44, 62, 104), [(34, 5), (66, 5), (69, 40), (68, 95), (54, 95), (51, 42),
                                  (49, 42), (46, 95), (32, 95), (31, 40)]),
        ("line", (24, 36, 66), [(34, 11), (66, 11)]), ("line", (24, 36, 66), [(50, 5), (50, 42)]),
        ("line", (90, 110, 150), [(39, 20), (38, 92)]),
        ("line", (90, 110, 150), [(61, 20), (62, 92)]),
    ]),
    "grey pullover": dict(label="Pullover", ground="linen", colour=(222, 214, 198), parts=[
        ("sharp", (92, 96, 102), [(38, 12), (24, 18), (12, 50), (6, 86), (17, 88), (27, 50),
                                  (28, 90), (72, 90), (73, 50), (83, 88), (94, 86), (88, 50),
                                  (76, 18), (62, 12), (56, 15), (44, 15)]),
        ("line", (60, 62, 68), [(38, 12), (44, 16), (56, 16), (62, 12)]),
        ("line", (60, 62, 68), [(28, 85), (72, 85)]), ("line", (60, 62, 68), [(7, 81), (18, 83)]),
        ("line", (60, 62, 68), [(93, 81), (82, 83)]),
    ]),
    "green dress": dict(label="Dress", ground="plain", colour=(228, 224, 216), parts=[
        ("sharp", (28, 92, 74), [(41, 5), (38, 16), (40, 26), (42, 40), (31, 94), (69, 94),
                                 (58, 40), (60, 26), (62, 16), (59, 5), (56, 6), (54, 16),
                                 (50, 19), (46, 16), (44, 6)]),
        ("line", (14, 56, 44), [(42, 40), (58, 40)]),
    ]),
    "black coat": dict(label="Coat", ground="plain", colour=(205, 208, 214), parts=[
        ("sharp", (38, 38, 44), [(40, 6), (27, 12), (18, 44), (14, 78), (24, 80), (31, 44),
                                 (28, 95), (72, 95), (69, 44), (76, 80), (86, 78), (82, 44),
                                 (73, 12), (60, 6), (50, 14)]),
        ("sharp", (66, 66, 74), [(40, 6), (50, 14), (47, 38), (38, 20)]),
        ("sharp", (66, 66, 74), [(60, 6), (50, 14), (53, 38), (62, 20)]),
        ("line", (14, 14, 18), [(50, 14), (50, 95)]), ("line", (90, 90, 98), [(55, 48), (56, 50)]),
        ("line", (90, 90, 98), [(55, 62), (56, 64)]), ("line", (14, 14, 18), [(34, 64), (44, 66)]),
        ("line", (14, 14, 18), [(66, 64), (56, 66)]),
    ]),
    "high-heeled sandal": dict(label="Sandal", ground="plain", colour=(240, 238, 236), parts=[
        ("smooth", (60, 40, 34), [(2, 84), (14, 80), (36, 78), (62, 58), (88, 46), (96, 46),
                                  (97, 52), (80, 60), (58, 76), (36, 88), (8, 90)]),
        ("sharp", (46, 30, 26), [(88, 50), (97, 48), (93, 90), (89, 90)]),
        ("line", (60, 40, 34), [(12, 82), (18, 68), (28, 66), (34, 80)]),
        ("line", (60, 40, 34), [(24, 80), (34, 62), (42, 64), (46, 76)]),
        ("line", (60, 40, 34), [(92, 48), (88, 26), (74, 24), (68, 30), (70, 54)]),
    ]),
    "blue shirt": dict(label="Shirt", ground="wood", colour=(214, 200, 178), parts=[
        ("sharp", (74, 112, 160), [(39, 9), (24, 16), (13, 50), (8, 80), (19, 83), (28, 52),
                                   (28, 92), (50, 94), (72, 92), (72, 52), (81, 83), (92, 80),
                                   (87, 50), (76, 16), (61, 9), (50, 16)]),
        ("sharp", (110, 146, 190), [(39, 9), (50, 16), (44, 25), (36, 14)]),
        ("sharp", (110, 146, 190), [(61, 9), (50, 16), (56, 25), (64, 14)]),
        ("line", (40, 70, 110), [(50, 16), (50, 94)]),
        ("line", (40, 70, 110), [(56, 36), (67, 36)]),
        ("line", (230, 236, 242), [(51.5, 30), (51.6, 31)]),
        ("line", (230, 236, 242), [(51.5, 46), (51.6, 47)]),
        ("line", (230, 236, 242), [(51.5, 62), (51.6, 63)]),
        ("line", (230, 236, 242), [(51.5, 78), (51.6, 79)]),
    ]),
    "sneaker to the right": dict(label="Sneaker", ground="linen", colour=(226, 226, 226), parts=[
        ("smooth", (58, 60, 70), [(3, 70), (4, 48), (8, 40), (20, 44), (32, 40), (40, 36), (50, 46),
                                  (64, 56), (84, 61), (95, 66), (97, 74), (60, 76), (20, 76)]),
        ("smooth", (190, 190, 192), [(2, 72), (30, 74), (70, 74), (98, 71), (97, 81), (60, 83),
                                     (20, 83), (3, 81)]),
        ("line", (200, 202, 208), [(38, 42), (46, 54)]),
        ("line", (200, 202, 208), [(46, 46), (52, 57)]),
        ("line", (200, 202, 208), [(54, 52), (58, 60)]),
        ("line", (150, 152, 160), [(14, 72), (34, 58), (60, 68)]),
    ]),
    "brown bag": dict(label="Bag", ground="plain", colour=(232, 230, 226), parts=[
        ("line", (84, 52, 30), [(30, 44), (33, 20), (42, 12), (58, 12), (67, 20), (70, 44)]),
        ("sharp", (120, 74, 42), [(12, 42), (88, 42), (94, 90), (6, 90)]),
        ("sharp", (98, 60, 34), [(12, 42), (88, 42), (90, 58), (50, 66), (10, 58)]),
        ("sharp", (196, 170, 110), [(46, 61), (54, 61), (54, 70), (46, 70)]),
    ]),
    "ankle boot": dict(label="Ankle boot", ground="dark", colour=(46, 48, 52), parts=[
        ("smooth", (196, 160, 112), [(58, 8), (92, 8), (93, 36), (95, 66), (95, 78), (40, 80),
                                     (8, 80), (4, 72), (14, 62), (36, 54), (54, 44)]),
        ("sharp", (120, 92, 60), [(4, 79), (95, 77), (95, 88), (72, 88), (68, 84), (6, 86)]),
        ("line", (140, 108, 70), [(70, 12), (72, 40), (68, 52)]),
        ("line", (140, 108, 70), [(34, 56), (44, 64), (42, 78)]),
    ]),
}  # fmt: skip


def smoothed(
    points,  # Pairs of numbers: corners of a closed outline
    turns: int = 3,  # How often each corner is cut off
) -> list:  # Pairs of numbers
    "A round outline (Chaikin 1974): cut off the corners, and again those that come of it."
    for _ in range(turns):
        cut = []
        for (x, y), (to_x, to_y) in zip(points, [*points[1:], points[0]], strict=True):
            cut.append((0.75*x + 0.25*to_x, 0.75*y + 0.25*to_y))
            cut.append((0.25*x + 0.75*to_x, 0.25*y + 0.75*to_y))
        points = cut
    return points


def clouds(
    generator,  # `np.random.Generator`
    cells: tuple,  # (across, down): how many spots
    size: tuple = (WIDTH, SIDE),  # (width, height), pixels
) -> np.ndarray:  # float (height, width), about -1 to 1
    "Soft spots of light and dark."
    spots = np.uint8(generator.uniform(0, 255, cells[::-1]))
    return np.asarray(Image.fromarray(spots).resize(size, Image.Resampling.BICUBIC))/127.5 - 1.0


def ground(
    kind: str,  # "plain", "linen", "wood" or "dark"
    colour: tuple,  # Red, green and blue
    generator,  # `np.random.Generator`
) -> np.ndarray:  # float (height, width, 3)
    "What lies behind: lit from one side, never quite even."
    y, x = np.mgrid[:SIDE, :WIDTH]
    light = 1 + 0.06*(x/WIDTH - 0.5) - 0.05*(y/SIDE - 0.5) + 0.015*clouds(generator, (5, 4))
    if kind == "linen":
        light = light + 0.025*np.sin(x*1.9) + 0.025*np.sin(y*2.1)
    if kind == "wood":
        grain = np.sin(y/7 + 3*clouds(generator, (3, 9)))
        light = light + 0.03*grain - 0.06*(y % 120 < 2)
    noise = generator.normal(0, 1.5, (SIDE, WIDTH, 1))
    return np.array(colour)*light[:, :, None] + noise


def layers(
    parts,  # As in `DRAWINGS`
    corner: tuple,  # Top left of the square, pixels
    side: float,  # Of the square, pixels
) -> tuple:  # RGB picture of the parts, and the mask of where they are, 0 to 255
    "Outlines filled, seams drawn, at twice the size and then halved."
    picture = Image.new("RGB", (2*WIDTH, 2*SIDE))
    mask = Image.new("L", picture.size)
    for kind, colour, points in parts:
        places = smoothed(points) if kind == "smooth" else points
        places = [tuple(2*(c + p*side/100) for c, p in zip(corner, point, strict=True))
                  for point in places]
        for image, fill in ((picture, colour), (mask, 255)):
            pen = ImageDraw.Draw(image)
            if kind == "line":
                pen.line(places, fill=fill, width=max(2, round(side*0.025)), joint="curve")
            else:
                pen.polygon(places, fill=fill)
    return picture.resize((WIDTH, SIDE)), mask.resize((WIDTH, SIDE))


def draw(
    name: str,  # A key of `DRAWINGS`
    size: float = 0.8,  # Height of the object's square, as a share of the picture's
    seed: int = 0,  # Of light, folds and noise
) -> Image.Image:  # RGB, 600 x 480 pixels
    "One of the drawings."
    check_choice("name", name, DRAWINGS)
    about, generator = DRAWINGS[name], np.random.default_rng([seed, *name.encode()])
    side = size*SIDE
    corner = (0.5*(WIDTH - side) + 0.03*WIDTH, 0.5*(SIDE - side) - 0.01*SIDE)
    picture, mask = layers(about["parts"], corner, side)
    folds = 0.16*clouds(generator, (7, 6)) + 0.08*clouds(generator, (26, 20))
    slope = 0.2*(np.arange(WIDTH)/WIDTH - 0.5)[None, :]
    lit = np.asarray(picture)*(1 + folds + slope)[:, :, None] + 10*(1 + folds[:, :, None])
    behind = ground(about["ground"], about["colour"], generator)
    shadow = mask.transform(mask.size, Image.Transform.AFFINE, (1, 0, -SIDE/80, 0, 1, -SIDE/60))
    shadow = np.asarray(shadow.filter(ImageFilter.GaussianBlur(SIDE/70)))/255
    behind = behind*(1 - 0.16*shadow[:, :, None])
    share = np.asarray(mask.filter(ImageFilter.GaussianBlur(0.7)))[:, :, None]/255
    both = share*(lit + generator.normal(0, 2, lit.shape)) + (1 - share)*behind
    return Image.fromarray(np.uint8(np.clip(np.rint(both), 0, 255)))


def rendered(
    image,  # uint8 (28, 28): one of the set
    generator,  # `np.random.Generator`: decides size, place, scale and ground
    sizes: tuple = (200, 800),  # The smallest and the largest height and width, pixels
) -> Image.Image:  # RGB, dark on white or grey
    "An image of the set as somebody might have found it: larger, somewhere, on another ground."
    height, width = generator.integers(sizes[0], sizes[1] + 1, 2)
    side = round(generator.uniform(0.4, 0.95)*min(height, width))
    top, left = generator.integers(0, (height - side + 1, width - side + 1))
    level = 255 if generator.random() < 0.5 else generator.integers(120, 240)
    large = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    ink = np.zeros((height, width))
    ink[top:top + side, left:left + side] = np.asarray(large)
    return Image.fromarray(np.uint8(np.rint(level*(1 - ink/255)))).convert("RGB")
