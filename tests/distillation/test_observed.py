import pytest

from srquant.distillation.observed import observed_students, show_student


def test_students_are_shown_while_someone_looks(teacher):
    seen = []
    show_student(teacher)
    with observed_students(seen.append):
        show_student(teacher)
        with observed_students(lambda student: seen.append("inner")):
            show_student(teacher)
        show_student(teacher)
    show_student(teacher)
    assert seen == [teacher, "inner", teacher]


def test_nobody_looks_after_an_error(teacher):
    seen = []
    with pytest.raises(KeyError), observed_students(seen.append):
        raise KeyError
    show_student(teacher)
    assert seen == []
