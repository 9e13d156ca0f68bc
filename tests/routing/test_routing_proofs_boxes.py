"""The box algebra against sets of points, one by one."""

from itertools import permutations
from itertools import product as grid
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmroute.routing.proofs.boxes import Layout, Link, absorbed, minus, product
from lmroute.routing.proofs.covering import cheapest, disjoint, nearest, uncovered, union_minus

THOROUGH = settings(max_examples=200)


SIZES = st.sampled_from([sizes for count in range(2, 6) for sizes in grid(range(1, 5), repeat=count)])
SEEDS = st.integers(0, 2**32)


@st.composite
def layouts(draw):
    sizes = draw(SIZES)
    if len(sizes) < 3 or draw(st.booleans()):
        return Layout(sizes)
    fields = draw(st.sampled_from(list(permutations(range(len(sizes)), 3))))
    triples = list(grid(*(range(sizes[index]) for index in fields)))
    chance, share = Random(draw(SEEDS)), draw(st.sampled_from([0.1, 0.3, 0.6]))
    return Layout(sizes, Link(fields, frozenset(triple for triple in triples if chance.random() < share)))


@st.composite
def spaces(draw, unions=1):
    """A layout and unions of boxes."""
    layout = draw(layouts())
    boxes = st.lists(SEEDS.map(lambda seed: box_of(seed, layout)), min_size=1, max_size=8)
    return layout, *(draw(boxes) for _ in range(unions))


def box_of(seed, layout):
    """A box that takes classes from some fields and leaves others whole; a few are empty. Integers that Hypothesis
    draws are too often small, and would leave most fields empty.
    """
    chance = Random(seed)
    sets = (
        chance.choice([(1 << size) - 1, chance.randint(chance.random() > 0.1, (1 << size) - 1)])
        for size in layout.sizes
    )
    return sum(each << at for each, at in zip(sets, layout.offsets, strict=True))


@st.composite
def homes(draw, layout):
    return tuple(draw(st.integers(0, size - 1)) for size in layout.sizes)


def allowed(layout, point):
    return layout.link is None or tuple(point[index] for index in layout.link.fields) in layout.link.allowed


def points(layout, *boxes):
    """The points of a union of boxes, read through ``classes``."""
    return {
        point
        for box in boxes
        for point in grid(*(layout.classes(box, index) for index in range(len(layout.sizes))))
        if allowed(layout, point)
    }


def away(point, home):
    return sum(one != other for one, other in zip(point, home, strict=True))


def is_partition(layout, boxes, union):
    """Whether boxes hold the points of a union, each once, and none is empty."""
    parts = [points(layout, box) for box in boxes]
    return all(parts) and sum(map(len, parts)) == len(union) and set().union(*parts) == union


@THOROUGH
@given(data=st.data(), layout=layouts())
def test_a_box_is_what_was_put_in_it(data, layout):
    numbers = range(len(layout.sizes))
    wanted = data.draw(
        st.fixed_dictionaries(
            {}, optional={index: st.frozensets(st.integers(0, layout.sizes[index] - 1)) for index in numbers}
        )
    )
    box = layout.box(wanted)
    for index in numbers:
        assert layout.classes(box, index) == tuple(sorted(wanted.get(index, range(layout.sizes[index]))))
    assert box & layout.guards == 0
    assert layout.inhabited(box) is bool(points(layout, box))
    left = {index for index in numbers if layout.classes(box, index)}
    assert layout.touched(box).bit_count() == len(left)


@pytest.mark.parametrize("number", [-1, 2])
def test_a_class_that_a_field_does_not_have_is_refused(number):
    with pytest.raises(ValueError, match="field 1 has the classes 0 to 1, not"):
        Layout((3, 2, 3)).box({1: [number]})


def test_layouts_are_equal_by_what_they_say():
    link = Link((0, 1, 2), frozenset({(0, 0, 0)}))
    used = Layout((2, 2, 2), link)
    assert used.inhabited(used.everything)
    assert used == Layout((2, 2, 2), link)
    assert used != Layout((2, 2, 2))


@THOROUGH
@given(space=spaces(2))
def test_bit_operations_are_set_operations(space):
    layout, ones, others = space
    for one, other in zip(ones, others, strict=False):
        assert points(layout, one & other) == points(layout, one) & points(layout, other)
        if one & other == one:
            assert points(layout, one) <= points(layout, other)


@THOROUGH
@given(space=spaces(2))
def test_minus_is_a_partition_of_the_difference(space):
    layout, ones, others = space
    for one, other in zip(ones, others, strict=False):
        pieces = list(minus(layout, one, other))
        assert is_partition(layout, pieces, points(layout, one) - points(layout, other))
        if not points(layout, one & other):
            assert pieces == [one] * bool(points(layout, one))


@THOROUGH
@given(space=spaces())
def test_disjoint_is_a_partition_of_the_union(space):
    layout, boxes = space
    assert is_partition(layout, disjoint(layout, boxes), points(layout, *boxes))


@THOROUGH
@given(space=spaces(2))
def test_union_minus_is_a_partition_of_the_difference(space):
    layout, boxes, cover = space
    pieces = list(union_minus(layout, boxes, cover))
    assert is_partition(layout, pieces, points(layout, *boxes) - points(layout, *cover))
    for piece in pieces:
        for other in pieces:
            assert layout.touched(piece ^ other).bit_count() != 1, "two pieces that differ in one field are one"


def test_the_first_piece_does_not_wait_for_the_last():
    """The parity of 60 fields has 2**59 pieces, and no two of them merge."""
    layout = Layout((2,) * 60)
    odd_neighbours = [layout.box({at: [bit], at + 1: [1 - bit]}) for at in range(0, 60, 2) for bit in (0, 1)]
    first = next(union_minus(layout, [layout.everything], odd_neighbours))
    assert layout.inhabited(first)
    assert not any(layout.inhabited(first & box) for box in odd_neighbours)


@THOROUGH
@given(space=spaces())
def test_absorbed_keeps_the_union_and_nothing_that_another_contains(space):
    layout, boxes = space
    kept = absorbed(layout, boxes)
    assert set(kept) <= set(boxes)
    assert points(layout, *kept) == points(layout, *boxes)
    assert all(layout.inhabited(box) for box in kept)
    assert not any(one & other == one for at, one in enumerate(kept) for other in kept[:at] + kept[at + 1 :])


@THOROUGH
@given(space=spaces(3), count=st.integers(0, 3))
def test_product_is_the_intersection(space, count):
    layout, *unions = space
    boxes = product(layout, unions[:count])
    expected = points(layout, layout.everything).intersection(*(points(layout, *union) for union in unions[:count]))
    assert points(layout, *boxes) == expected
    assert boxes == absorbed(layout, boxes)


@settings(max_examples=600)
@given(space=spaces(2))
def test_uncovered_finds_points_that_are_and_only_those(space):
    layout, boxes, cover = space
    left = points(layout, *boxes) - points(layout, *cover)
    found = uncovered(layout, boxes, cover)
    assert (found is None) is (not left)
    if found is not None:
        assert set() < points(layout, found) <= left
        assert any(found & box == found for box in boxes)


@settings(max_examples=600)
@given(space=spaces(2), data=st.data())
def test_cheapest_leaves_home_in_as_few_fields_as_can_be(space, data):
    layout, boxes, cover = space
    home = data.draw(homes(layout))
    left = points(layout, *boxes) - points(layout, *cover)
    home_box = layout.box({index: [number] for index, number in enumerate(home)})
    found = cheapest(layout, boxes, cover, home_box)
    assert (found is None) is (not left)
    if found is None:
        return
    least = min(away(point, home) for point in left)
    assert set() < points(layout, found) <= left
    assert any(found & box == found for box in boxes)
    assert least == len(layout.sizes) - layout.touched(found & home_box).bit_count()
    (witness,) = points(layout, nearest(layout, found, home_box))
    assert witness in points(layout, found)
    assert away(witness, home) == least
    assert any(is_widest(layout, found, box & ~home_box, cover) for box in boxes if found & box == found)


def is_widest(layout, box, limit, cover):
    """Whether every class of the limit that a box lacks would make it meet the cover."""
    wider = (box | layout.box({index: [number]}) & layout.spans[index] for index, number in missing(layout, box, limit))
    return all(any(layout.touched(each & other) == layout.guards for other in cover) for each in wider)


def missing(layout, box, limit):
    return [
        (index, number)
        for index, size in enumerate(layout.sizes)
        for number in range(size)
        if number in layout.classes(limit, index) and number not in layout.classes(box, index)
    ]


@THOROUGH
@given(space=spaces(), data=st.data())
def test_nearest_is_a_point_of_the_box(space, data):
    layout, boxes = space
    home = data.draw(homes(layout))
    home_box = layout.box({index: [number] for index, number in enumerate(home)})
    for box in boxes:
        inside = points(layout, box)
        if not inside:
            with pytest.raises(ValueError, match="without points"):
                nearest(layout, box, home_box)
            continue
        (point,) = points(layout, nearest(layout, box, home_box))
        assert point in inside
        assert away(point, home) == min(away(other, home) for other in inside)
