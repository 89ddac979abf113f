"""Fields of wordings."""

import pytest

from vlm3.asking.numbers import read_length
from vlm3.asking.protocol import ParseFailure
from vlm3.asking.wordings import FOCAL, check_fields, check_read, name_focal


def test_a_field_that_is_wanted_must_be_there_and_an_optional_one_may() -> None:
    check_fields("{x} {y}", {"x", "y"}, FOCAL)
    check_fields("{x} {y:02d} {focal}", {"x", "y"}, FOCAL)
    check_fields("plain {{braces}}", set())
    with pytest.raises(ValueError, match=r"must use the fields \{x\} \{y\} \(and may use \{focal\}\), it uses \['x'\]"):
        check_fields("{x}", {"x", "y"}, FOCAL)
    with pytest.raises(ValueError, match="must use no field, it uses"):
        check_fields("{focal}", set())


def test_the_focal_length_is_named_only_where_every_wording_names_it() -> None:
    assert name_focal(["f = {focal}", "{focal:d} px"])
    assert not name_focal(["f = {focal}", "no focal", "{{focal}}"])


def test_an_answer_must_read_back_as_what_it_says() -> None:
    check_read("{metres} m", {"metres": 2.0}, read_length, 2.0)
    with pytest.raises(ValueError, match=r"gives '2\.0 cm', which reads as 0\.02"):
        check_read("{metres} cm", {"metres": 2.0}, read_length, 2.0)
    with pytest.raises(ValueError, match=r"gives 'about 2\.0', which cannot be read: expected one length") as caught:
        check_read("about {metres}", {"metres": 2.0}, read_length, 2.0)
    assert not isinstance(caught.value, ParseFailure)
