from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from interceptor.mesh import shape

KINDS = (
    shape.ServiceEntry,
    shape.WorkloadEntry,
    shape.WorkloadGroup,
    shape.Service,
    shape.Endpoints,
    shape.EndpointSlice,
    shape.Pod,
)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_fields_are_fine_and_wrong_types_are_not(kind: type) -> None:
    adapter = TypeAdapter(kind)
    assert adapter.validate_python({"unheardOf": 1, "metadata": {"other": 2}}) == {"metadata": {}}
    with pytest.raises(ValidationError):
        adapter.validate_python({"metadata": {"name": 1}})


def test_numbers_are_never_taken_from_strings() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(shape.EntryPort).validate_python({"number": "80"})
