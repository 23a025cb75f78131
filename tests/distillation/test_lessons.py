"""What the teacher says is written once and read back."""

import pytest
import torch

from srquant.distillation.features import features_of
from srquant.distillation.lessons import FreshLessons, in_layout, write_lessons
from srquant.distillation.losses import normalised
from srquant.errors import OutputError


def test_lessons_round_trip(teacher, calibration, tmp_path):
    batches = list(calibration.batches(2))
    lessons = write_lessons(teacher, iter(batches), tmp_path)
    assert len(lessons) == 3
    for images, lesson in zip(batches, lessons, strict=True):
        with torch.no_grad(), features_of(teacher) as features:
            output = teacher(in_layout(images))
            expected = features.take()
        assert torch.equal(lesson.images, images)
        assert torch.equal(lesson.output, output)
        assert len(lesson.features) == len(expected) == 2
        for feature, float_feature in zip(lesson.features, expected, strict=True):
            # half precision keeps 11 bits of each value
            torch.testing.assert_close(feature, normalised(float_feature), rtol=2**-11, atol=1e-9)


def test_features_of_many_modules_keep_their_order(calibration, tmp_path):
    from srquant.models.load import build

    deep = build("edsr", {"blocks": 12, "features": 4}).eval()
    (lesson,) = write_lessons(deep, calibration.batches(5), tmp_path)
    with torch.no_grad(), features_of(deep) as features:
        deep(lesson.images)
        expected = features.take()
    assert len(lesson.features) == 12
    for feature, float_feature in zip(lesson.features, expected, strict=True):
        torch.testing.assert_close(feature, normalised(float_feature), rtol=2**-11, atol=1e-9)


def test_fresh_lessons_are_those_that_would_be_recorded(teacher, calibration, tmp_path):
    fresh = FreshLessons(teacher, lambda: calibration.batches(2))
    kept = write_lessons(teacher, calibration.batches(2), tmp_path)
    for _ in range(2):
        for lesson, recorded in zip(fresh, kept, strict=True):
            assert torch.equal(lesson.images, recorded.images)
            assert torch.equal(lesson.output, recorded.output)
            assert not lesson.output.requires_grad
            for feature, stored in zip(lesson.features, recorded.features, strict=True):
                torch.testing.assert_close(feature, stored, rtol=2**-11, atol=1e-9)


def test_fresh_lessons_are_made_one_at_a_time(teacher, calibration):
    runs = []
    teacher.register_forward_hook(lambda *_: runs.append(torch.is_grad_enabled()))
    lessons = iter(FreshLessons(teacher, lambda: calibration.batches(2)))
    next(lessons)
    assert runs == [False]


def test_features_are_taken_once_in_the_order_of_calls(teacher):
    images = torch.rand(1, 3, 8, 8)
    with torch.no_grad(), features_of(teacher) as features:
        teacher(images)
        first = features.take()
        assert features.take() == []
        expected = teacher.module.body[0](teacher.module.head(teacher.module.sub_mean(255 * images)))
    assert torch.equal(first[0], expected)


def test_no_hooks_are_left_after_an_error(teacher):
    with pytest.raises(RuntimeError), features_of(teacher):
        teacher(torch.rand(1, 5, 8, 8))
    assert not any(module._forward_hooks for module in teacher.modules())


def test_a_place_that_cannot_be_written_is_named(teacher, calibration, tmp_path):
    with pytest.raises(OutputError, match=r"can't write .*missing/0\.safetensors: .*make room there, .* TMPDIR"):
        write_lessons(teacher, calibration.batches(2), tmp_path / "missing")
