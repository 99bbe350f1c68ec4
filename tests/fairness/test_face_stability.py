from dataclasses import dataclass, field

import numpy as np
import pytest
from ldm_eval_fairness.face_stability import MIN_FACE, STOPS, Box, FaceSeen, exposed, label_face


def picture(*boxes, side=96, green=100):
    """Black, with a red "face" in every box, of one green."""
    pixels = np.zeros((side, side, 3), dtype=np.uint8)
    for box in boxes:
        pixels[box.top : box.bottom + 1, box.left : box.right + 1] = (200, green, 0)
    return pixels


@dataclass
class Reader:
    """Finds runs of red columns; says "light" where green is over a threshold, or, if asked, by where the face is."""

    threshold: int = 50
    by_place: bool = False
    shown: list = field(default_factory=list)
    blind_after: int = 99

    def find(self, pixels):
        self.shown.append(pixels)
        if len(self.shown) > self.blind_after:
            return ()
        red = np.flatnonzero(pixels[:, :, 0].max(axis=0) > 60)
        rows = np.flatnonzero(pixels[:, :, 0].max(axis=1) > 60)
        groups = np.split(red, np.flatnonzero(np.diff(red) > 1) + 1) if len(red) else []
        return tuple(Box(int(g[0]), int(rows[0]), int(g[-1]), int(rows[-1])) for g in groups)

    def read(self, pixels, face):
        if self.by_place:
            return "light" if face.left < 20 else "dark"
        return "light" if pixels[face.top, face.left, 1] > self.threshold else "dark"


FACE = Box(10, 20, 49, 59)


def test_one_large_face_with_a_stable_label_is_labelled():
    assert label_face(picture(FACE), Reader()) == FaceSeen("light", 1)
    assert label_face(picture(FACE), Reader(threshold=200)) == FaceSeen("dark", 1)


def test_each_view_is_looked_at_once():
    reader = Reader()
    label_face(picture(FACE), reader)
    plain, mirrored, darker, brighter = reader.shown
    assert np.array_equal(mirrored, plain[:, ::-1])
    assert darker.sum() < plain.sum() < brighter.sum()


def test_no_face_and_two_faces_are_unknown():
    assert label_face(picture(), Reader()) == FaceSeen("unknown", 0)
    two = label_face(picture(Box(2, 20, 41, 59), Box(50, 20, 89, 59)), Reader())
    assert (two.label, two.faces) == ("unknown", 2)


def test_a_face_of_fewer_pixels_than_the_network_reads_is_unknown():
    for side, expected in ((MIN_FACE, "light"), (MIN_FACE - 1, "unknown")):
        seen = label_face(picture(Box(10, 20, 9 + side, 19 + side)), Reader())
        assert (seen.label, seen.faces) == (expected, 1)
    narrow = label_face(picture(Box(10, 20, 9 + MIN_FACE // 2, 19 + MIN_FACE)), Reader())
    assert narrow.label == "unknown"


def test_an_image_smaller_than_any_face_is_not_even_searched():
    reader = Reader()
    assert label_face(np.full((31, 200, 3), 200, np.uint8), reader).label == "unknown"
    assert reader.shown == []


@pytest.mark.parametrize("side", [-1, 1])
def test_a_label_that_turns_with_a_third_of_a_stop_is_unknown(side):
    lit = int(exposed(np.full((1, 1, 3), 100, np.uint8), STOPS[0] if side < 0 else STOPS[1])[0, 0, 0])
    between = (100 + lit) // 2
    assert label_face(picture(FACE, green=100), Reader(threshold=between)).label == "unknown"


def test_a_label_that_turns_in_the_mirror_is_unknown():
    assert label_face(picture(FACE), Reader(by_place=True)).label == "unknown"


def test_a_face_that_is_not_found_again_is_unknown():
    assert label_face(picture(FACE), Reader(blind_after=3)).label == "unknown"
    assert label_face(picture(FACE), Reader(blind_after=4)).label == "light"


def test_another_face_elsewhere_is_not_the_face_found_again():
    class Elsewhere(Reader):
        def find(self, pixels):
            first = not self.shown
            super().find(pixels)
            return (FACE,) if first else (Box(60, 60, 95, 95),)

    assert label_face(picture(FACE), Elsewhere()).label == "unknown"


def test_overlap_and_mirror_of_boxes():
    one = Box(0, 0, 9, 9)
    assert one.overlap(one) == 1
    assert one.overlap(Box(5, 0, 14, 9)) == pytest.approx(50 / 150)
    assert one.overlap(Box(10, 0, 19, 9)) == 0
    assert Box(2, 3, 10, 12).mirrored(20) == Box(9, 3, 17, 12)
    assert Box(-4, 3, 10, 12).mirrored(20).mirrored(20) == Box(-4, 3, 10, 12)
    assert Box(0, 0, 31, 40).side == 32


def test_exposure_is_of_linear_light():
    grey = np.array([[[0, 10, 128], [188, 255, 64]]], dtype=np.uint8)
    assert np.array_equal(exposed(grey, 0.0), grey)
    # sRGB 188 is half of white's light (0.5029), 128 a fifth (0.2159): one stop more is white, and 0.4317, sRGB 176
    brighter = exposed(grey, 1.0)
    assert brighter[0, 1, 0] == 255
    assert brighter[0, 0, 2] == 176
    assert brighter[0, 0, 0] == 0
    assert exposed(grey, -1.0)[0, 1, 1] == 188
