"""Size, orientation and pixels of a file come from one reading of it; what is not read is refused with its cure."""

import io
import pickle
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.image_files import (
    PIXELS,
    chunk,
    exif,
    many_scans,
    segment,
    turned,
    turned_in_xmp,
    with_chunk,
    with_segments,
    written,
)
from vlm3.errors import DataError
from vlm3.storage.images import (
    MAX_SCANS,
    TurnedImageError,
    bounded_header,
    decode_at_least,
    decode_rgb,
    decode_size,
    upright,
)

JPEG, PNG = written("JPEG"), written("PNG")
KINDS = pytest.mark.parametrize("kind", ["JPEG", "PNG"])


def pillows(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


@KINDS
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_picture_is_refused_with_what_to_do_in_its_format(kind: str, orientation: int) -> None:
    for read in (decode_size, decode_rgb):
        with pytest.raises(TurnedImageError, match=f"{kind} has EXIF orientation {orientation}, expected 1") as raised:
            read(turned(kind, orientation))
    assert ("jpegtran" in str(raised.value)) == (kind == "JPEG")
    assert "remove the tag" in str(raised.value) and "ingest" not in str(raised.value)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


@KINDS
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_pixels_are_those_that_pillow_shows(kind: str, orientation: int) -> None:
    encoded = turned(kind, orientation)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))))
    header, plain = bounded_header(encoded), upright(encoded)
    assert (header.shown_height_px, header.shown_width_px, 3) == shown.shape
    assert decode_size(plain) == (header.shown_width_px, header.shown_height_px)
    assert np.array_equal(decode_rgb(plain), shown)
    assert upright(plain) is plain


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_colour_type_is_turned(mode: str) -> None:
    image = Image.fromarray(PIXELS)
    image = image.quantize(64) if mode == "P" else image.convert(mode)
    kind = "JPEG" if mode == "CMYK" else "PNG"
    encoded = written(kind, image, exif=b"Exif\0\0" + exif(6))
    assert np.array_equal(decode_rgb(upright(encoded)), np.rot90(decode_rgb(written(kind, image)), -1))


def test_what_cannot_be_decoded_cannot_be_turned() -> None:
    encoded = turned("JPEG", 6)
    with pytest.raises(DataError, match="damaged JPEG"):
        upright(encoded[: len(encoded) // 2])
    with pytest.raises(DataError, match="more than 100 scans"):
        upright(with_segments(many_scans(MAX_SCANS + 1, 64, 48), segment(0xE1, b"Exif\0\0" + exif(6))))


@KINDS
@pytest.mark.parametrize("element", [False, True])
@pytest.mark.parametrize("orientation", [3, 6])
def test_an_orientation_in_xmp_alone_says_nothing_anywhere(kind: str, element: bool, orientation: int) -> None:
    encoded = turned_in_xmp(kind, orientation, element)
    assert Image.open(io.BytesIO(encoded)).getexif()[0x0112] == orientation, "Pillow reads it: the packet is well made"
    assert upright(encoded) is encoded
    assert decode_size(encoded) == (64, 48)
    assert np.array_equal(decode_rgb(encoded), decode_rgb(written(kind)))


@KINDS
@pytest.mark.parametrize("orientation", [0, 1, 9, 255, 65535])
def test_an_orientation_that_is_upright_or_reserved_leaves_pixels_alone(kind: str, orientation: int) -> None:
    encoded = turned(kind, orientation)
    assert decode_size(encoded) == (64, 48)
    assert np.array_equal(decode_rgb(encoded), decode_rgb(written(kind)))


@KINDS
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("form", [3, 4])
def test_orientation_is_read_in_both_byte_orders_and_widths(kind: str, order: str, form: int) -> None:
    with pytest.raises(TurnedImageError, match="orientation 6"):
        decode_size(written(kind, exif=b"Exif\0\0" + exif(6, order, form)))


def test_orientation_is_found_behind_other_metadata_and_fill_bytes() -> None:
    block = segment(0xE1, b"Exif\0\0" + exif(8))
    other = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>")
    for before in (other, segment(0xE1, b"Exif\0\0" + exif(0)), segment(0xFE, b""), b"\xff\xff\xff", other + b"\0\0"):
        with pytest.raises(TurnedImageError, match="orientation 8"):
            decode_size(with_segments(JPEG, before, block))
    with pytest.raises(TurnedImageError, match="orientation 8"):
        decode_size(with_chunk(PNG, b"eXIf", exif(8), last=True))


@given(st.binary(max_size=60), st.integers(2, 200))
def test_damaged_metadata_is_a_refusal_or_nothing_never_a_crash(noise: bytes, at: int) -> None:
    for whole in (turned("JPEG", 6), turned("PNG", 6)):
        try:
            width_px, height_px = decode_size(whole[:at] + noise + whole[at + len(noise) :])
        except DataError as error:
            assert str(error)
        else:
            assert width_px * height_px > 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_colour_type_of_png_is_what_pillow_reads(mode: str) -> None:
    image = Image.fromarray(PIXELS)
    encoded = written("PNG", image.quantize(64) if mode == "P" else image.convert(mode))
    assert np.array_equal(decode_rgb(encoded), pillows(encoded))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_every_colour_type_of_jpeg_is_what_pillow_reads(mode: str, progressive: bool) -> None:
    encoded = written("JPEG", Image.fromarray(PIXELS).convert(mode), progressive=progressive)
    # CMYK has no exact way to RGB: decoders round differently.
    assert np.abs(decode_rgb(encoded).astype(int) - pillows(encoded)).max() <= (3 if mode == "CMYK" else 0)
    assert decode_at_least(encoded, 0.5).pixels.shape == (24, 32, 3)


@pytest.mark.parametrize(
    "encoded",
    [
        with_segments(JPEG, b"\xff\xff\xff"),
        JPEG[:20] + b"\0\0" + JPEG[20:],
        JPEG[:-2] + bytes(7) + JPEG[-2:],
        JPEG[:20] + b"\0\0" + JPEG[20:-2] + b"\0" + JPEG[-2:] + b"trailing",
        JPEG + bytes(100),
    ],
    ids=["fill bytes", "stray bytes in the header", "stray bytes before the end", "both", "trailing bytes"],
)
def test_bytes_that_belong_to_nothing_harm_nothing(encoded: bytes) -> None:
    assert decode_size(encoded) == (64, 48)
    assert np.array_equal(decode_rgb(encoded), decode_rgb(JPEG))
    assert decode_at_least(encoded, 0.5).pixels.shape == (24, 32, 3)


@pytest.mark.parametrize("share", [0.6, 0.9, 0.99])
def test_stray_bytes_do_not_hide_missing_pixels(share: float) -> None:
    stray = JPEG[:20] + b"\0\0" + JPEG[20:]
    with pytest.raises(DataError, match="damaged JPEG"):
        decode_rgb(stray[: int(len(stray) * share)])


def test_a_jpeg_of_twelve_bits_is_refused() -> None:
    at = JPEG.index(b"\xff\xc0") + 4
    with pytest.raises(DataError, match="JPEG of 12 bits a sample, 8 are read"):
        decode_size(JPEG[:at] + b"\x0c" + JPEG[at + 1 :])


def deep_png(values: np.ndarray, significant_bits: int | None = None) -> bytes:
    png = cv2.imencode(".png", values[..., ::-1] if values.ndim == 3 else values)[1].tobytes()
    if significant_bits is None:
        return png
    return with_chunk(png, b"sBIT", bytes([significant_bits] * (3 if values.ndim == 3 else 1)))


def test_sixteen_bits_keep_their_high_bytes() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (8, 9, 3)).astype(np.uint16)
    assert np.array_equal(decode_rgb(deep_png(values)), values >> 8)
    assert np.array_equal(decode_rgb(deep_png(values[..., 0])), np.repeat(values[..., :1] >> 8, 3, -1))
    assert not decode_rgb(deep_png(np.zeros_like(values))).any(), "black is black"


@given(st.integers(8, 15), st.booleans(), st.booleans())
def test_declared_bits_are_scaled_up_once(bits: int, scaled: bool, replicated: bool) -> None:
    values = np.random.default_rng(bits).integers(0, 1 << bits, (8, 9, 3)).astype(np.uint16)
    stored = values << (16 - bits)
    if replicated:
        stored |= values >> (2 * bits - 16)
    assert np.array_equal(decode_rgb(deep_png(stored if scaled else values, bits)), values >> (bits - 8))


def test_a_dark_picture_of_declared_bits_is_not_brightened() -> None:
    dark = np.random.default_rng(0).integers(0, 100, (8, 9, 3)).astype(np.uint16) << 4
    assert np.array_equal(decode_rgb(deep_png(dark, 12)), dark >> 8)


def test_twelve_bits_in_sixteen_without_a_word_are_refused() -> None:
    values = np.random.default_rng(0).integers(0, 4096, (8, 9, 3)).astype(np.uint16)
    with pytest.raises(DataError, match="are these values of 12 bits"):
        decode_rgb(deep_png(values))


@pytest.mark.parametrize(("width_px", "height_px"), [(64, 48), (3000, 2000)])
def test_a_bomb_of_scans_is_refused_before_it_is_decoded(width_px: int, height_px: int) -> None:
    bomb = many_scans(MAX_SCANS + 1, width_px, height_px)
    started = time.thread_time()
    with pytest.raises(DataError, match=f"more than {MAX_SCANS} scans"):
        decode_rgb(bomb)
    assert time.thread_time() - started < 0.1


def test_larger_pictures_may_have_fewer_scans() -> None:
    bomb = many_scans(90, 64, 48)
    at = bomb.index(b"\xff\xc2") + 5
    with pytest.raises(DataError, match="more than 25 scans"):
        decode_size(bomb[:at] + (10_000).to_bytes(2, "big") * 2 + bomb[at + 4 :])


def test_scans_hidden_behind_a_false_end_are_counted() -> None:
    jpeg = written("JPEG", progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    hidden = jpeg[:-2] + segment(0xFE, b"\xff\xd9") + b"\xff\x01" + last * MAX_SCANS + jpeg[-2:]
    with pytest.raises(DataError, match="scans"):
        decode_rgb(hidden)


def test_scans_of_pictures_behind_the_end_do_not_count() -> None:
    jpeg = written("JPEG", progressive=True)
    thumbnail = segment(0xE2, b"MPF\0" + b"\xff\xda" * 200)
    assert np.array_equal(decode_rgb(with_segments(jpeg, thumbnail) + jpeg * 20), decode_rgb(jpeg))


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xff\xd8" + b"\xff" * 1_000_000 + b"\0" * 10,
        b"\xff\xd8\xff\xe0" + b"\xff\0" * 500_000,
        b"\xff\xd8" + b"\xff\xfe\0\2" * 300_000,
        PNG[:33] + chunk(b"tESt", b"") * 150_000,
        many_scans(20, 64, 48)[:-2] + b"\xff\xfe\0\2" * 300_000,
    ],
    ids=["fill bytes", "no marker", "empty segments", "empty chunks", "empty segments after a scan"],
)
def test_headers_without_end_are_read_in_bounded_time(hostile: bytes) -> None:
    started = time.thread_time()
    with pytest.raises(DataError):
        decode_size(hostile)
    assert time.thread_time() - started < 1


@settings(max_examples=30)
@given(st.integers(1, 64), st.integers(1, 64), st.sampled_from(["JPEG", "PNG"]))
def test_the_header_says_what_is_decoded(width_px: int, height_px: int, kind: str) -> None:
    encoded = written(kind, np.zeros((height_px, width_px, 3), np.uint8))
    assert decode_size(encoded) == (width_px, height_px)
    assert decode_rgb(encoded).shape == (height_px, width_px, 3)
