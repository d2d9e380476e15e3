"""Istio's own messages, which no Python package has: made from their field numbers.

In a descriptor pool of their own, so that they stand beside whatever the package under test
makes of the same names.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
INT64 = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
NDS = "istio.networking.nds.v1"
CA = "istio.v1.auth"

Field = tuple[str, int, int, bool]  # name, number, type, whether it is repeated


def _add(file: descriptor_pb2.FileDescriptorProto, name: str, *fields: Field) -> Any:
    message = file.message_type.add(name=name)
    for field, number, kind, repeated in fields:
        made = message.field.add(name=field, number=number, type=kind)
        made.label = made.LABEL_REPEATED if repeated else made.LABEL_OPTIONAL
    return message


def _nds() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="nds.proto", package=NDS, syntax="proto3")
    _add(
        file,
        "NameInfo",
        ("ips", 1, STRING, True),
        ("registry", 2, STRING, False),
        ("shortname", 3, STRING, False),
        ("namespace", 4, STRING, False),
        ("alt_hosts", 5, STRING, True),
    )
    table = _add(file, "NameTable", ("table", 1, MESSAGE, True))
    table.field[0].type_name = f".{NDS}.NameTable.TableEntry"
    entry = table.nested_type.add(name="TableEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=STRING, label=1)
    value = entry.field.add(name="value", number=2, type=MESSAGE, label=1)
    value.type_name = f".{NDS}.NameInfo"
    return file


def _ca() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="ca.proto", package=CA, syntax="proto3")
    _add(
        file,
        "IstioCertificateRequest",
        ("csr", 1, STRING, False),
        ("validity_duration", 3, INT64, False),
        ("metadata", 4, BYTES, False),  # google.protobuf.Struct on the wire
    )
    _add(file, "IstioCertificateResponse", ("cert_chain", 1, STRING, True))
    return file


_POOL = descriptor_pool.DescriptorPool()
for _file in (_nds(), _ca()):
    _POOL.Add(_file)


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


NameTable = _class(f"{NDS}.NameTable")
CertificateRequest = _class(f"{CA}.IstioCertificateRequest")
CertificateResponse = _class(f"{CA}.IstioCertificateResponse")
