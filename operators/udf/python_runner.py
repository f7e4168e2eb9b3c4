"""Runs the functions in Python of one node of a Millrace job, for one of its tasks.

The worker starts this program with one end of a socket as descriptor 3 and talks in frames: a head
(magic, kind, bytes of the body), then the body. It sends one `SETUP` (JSON: folders, columns,
calls), then `ROWS` (a batch in the form of runtime/columns/batch_codec.h: the arguments), each of
which is answered by one `RESULTS`: a column per call, and one with the error of each row that has
one. What a function prints goes to the job's log. At the end of the socket the program ends.

Standard library; pyarrow only for vectorised functions.
"""

import array
import datetime
import decimal
import importlib
import importlib.machinery
import itertools
import json
import operator
import os
import pathlib
import socket
import struct
import sys
import traceback

MAGIC = 0x3152504D  # "MPR1".
SETUP, READY, FAILED, ROWS, RESULTS = 1, 2, 3, 4, 5
FRAME = struct.Struct("<IIQ")
# Of runtime/columns/batch_codec.h.
BATCH_MAGIC = 0x4D524231
BATCH = struct.Struct("<IIqII")
COLUMN = struct.Struct("<IIqQQQ")
HAS_KINDS = 1
# Of millrace.v1.Type.Kind.
BOOL, INT32, INT64, FLOAT64, STRING, BYTES, DATE, TIMESTAMP, INTERVAL, DECIMAL = range(1, 11)
VARIABLE = (STRING, BYTES)
ARRAY_CODE = {INT32: "i", INT64: "q", FLOAT64: "d", DATE: "i", TIMESTAMP: "q", INTERVAL: "q"}

ERROR_CHARACTERS_MAX = 1000
EPOCH = datetime.datetime(1970, 1, 1)
EPOCH_DAY = EPOCH.toordinal()
MICROSECOND = datetime.timedelta(microseconds=1)
# Of DECIMAL(38, s), and twice as many for what lies between two of them.
EXACT = decimal.Context(prec=100, rounding=decimal.ROUND_HALF_UP)


class Type:
    """A column type of SQL: its kind and, of DECIMAL, its digits."""

    def __init__(self, kind, precision=0, scale=0):
        self.kind, self.precision, self.scale = kind, precision, scale
        self.unit = decimal.Decimal((0, (1,), -scale))

    def name(self):
        names = {BOOL: "BOOLEAN", INT32: "INT", INT64: "BIGINT", FLOAT64: "DOUBLE",
                 STRING: "STRING", BYTES: "BYTES", DATE: "DATE", TIMESTAMP: "TIMESTAMP",
                 INTERVAL: "INTERVAL", DECIMAL: f"DECIMAL({self.precision}, {self.scale})"}
        return names[self.kind]

    def arrow(self):
        import pyarrow
        return {BOOL: pyarrow.bool_, INT32: pyarrow.int32, INT64: pyarrow.int64,
                FLOAT64: pyarrow.float64, STRING: pyarrow.string, BYTES: pyarrow.binary,
                DATE: pyarrow.date32, TIMESTAMP: lambda: pyarrow.timestamp("us"),
                INTERVAL: lambda: pyarrow.duration("us"),
                DECIMAL: lambda: pyarrow.decimal128(self.precision, self.scale)}[self.kind]()


# ---- Columns of the worker, as values of Python and as arrays of Arrow.


class Column:
    """Views of the buffers of one column; `values` and `array` are made when they are asked for."""

    def __init__(self, type_, rows, nulls, validity, data, offsets):
        self.type, self.rows, self.nulls = type_, rows, nulls
        self.validity, self.data, self.offsets = validity, data, offsets
        self.made_values = self.made_array = None

    def bits(self, view):
        return [view[row >> 3] >> (row & 7) & 1 for row in range(self.rows)]

    def raw_values(self, bad):
        kind, rows = self.type.kind, self.rows
        if kind == BOOL:
            return [bit == 1 for bit in self.bits(self.data)]
        if kind in VARIABLE:
            ends = self.offsets.cast("i").tolist()
            data = self.data.tobytes()
            cut = [data[ends[row]:ends[row + 1]] for row in range(rows)]
            return cut if kind == BYTES else [one.decode() for one in cut]
        if kind == DECIMAL:
            data, scale = self.data, self.type.scale
            return [decimal.Decimal(int.from_bytes(data[at:at + 16], "little", signed=True))
                    .scaleb(-scale, EXACT) for at in range(0, rows * 16, 16)]
        numbers = self.data.cast(ARRAY_CODE[kind])[:rows].tolist()
        if kind in (INT32, INT64, FLOAT64):
            return numbers
        make = {DATE: lambda days: datetime.date.fromordinal(EPOCH_DAY + days),
                TIMESTAMP: lambda us: EPOCH + datetime.timedelta(microseconds=us),
                INTERVAL: lambda us: datetime.timedelta(microseconds=us)}[kind]
        values = []
        for row, number in enumerate(numbers):
            try:
                values.append(make(number))
            except (OverflowError, ValueError):
                values.append(None)
                bad[row] = f"{self.type.name()} is outside the years 1 to 9999, which Python has"
        return values

    def values(self):
        """The values, None for NULL; and the texts of those that Python does not have, by row."""
        if self.made_values is None:
            bad = {}
            values = self.raw_values(bad)
            if self.nulls:
                for row, bit in enumerate(self.bits(self.validity)):
                    if not bit:
                        values[row] = None
                        bad.pop(row, None)
            self.made_values = values, bad
        return self.made_values

    def array(self):
        if self.made_array is None:
            import pyarrow
            buffers = [self.validity if self.nulls else None]
            if self.type.kind in VARIABLE:
                buffers.append(self.offsets)
            buffers.append(self.data)
            self.made_array = pyarrow.Array.from_buffers(
                self.type.arrow(), self.rows,
                [None if one is None else pyarrow.py_buffer(one) for one in buffers], self.nulls)
        return self.made_array


def padded(size):
    return size + 7 & ~7


def decode_batch(frame, types):
    magic, count, rows, _, flags = BATCH.unpack_from(frame)
    if magic != BATCH_MAGIC or count != len(types):
        raise ValueError("malformed batch")
    heads = [COLUMN.unpack_from(frame, BATCH.size + COLUMN.size * i) for i in range(count)]
    at = BATCH.size + COLUMN.size * count
    if flags & HAS_KINDS:
        at += padded(rows)

    def take(size):
        nonlocal at
        view = frame[at:at + size]
        at += padded(size)
        return view

    columns = []
    for type_, (_, _, nulls, validity, data, offsets) in zip(types, heads):
        validity, data, offsets = (take(size) for size in (validity, data, offsets))
        columns.append(Column(type_, rows, nulls, validity, data, offsets))
    return rows, columns


# ---- Results of functions, as columns of the worker.


def bitmap(flags):
    """One bit per flag, the lowest first."""
    bits = bytearray((len(flags) + 7) // 8)
    for row, flag in enumerate(flags):
        if flag:
            bits[row >> 3] |= 1 << (row & 7)
    return bytes(bits)


def whole(value, bits):
    number = operator.index(value)
    if not -(1 << bits - 1) <= number < 1 << bits - 1:
        raise OverflowError(f"{number} is out of range")
    return number


def convert(value, type_):
    """What the buffer holds of a value that is not None. TypeError, ValueError, OverflowError, or an
    ArithmeticError of decimals: it is none of the type."""
    kind = type_.kind
    if kind == BOOL:
        if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
            return bool(value)
    elif kind in (INT32, INT64):
        return whole(value, 32 if kind == INT32 else 64)
    elif kind == FLOAT64:
        if not isinstance(value, (str, bytes)):
            return float(value)
    elif kind == STRING:
        if isinstance(value, str):
            return value.encode()
    elif kind == BYTES:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
    elif kind == DATE:
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            return value.toordinal() - EPOCH_DAY
    elif kind == TIMESTAMP:
        if isinstance(value, datetime.datetime):
            if value.tzinfo is not None:
                value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
            return (value - EPOCH) // MICROSECOND
    elif kind == INTERVAL:
        if isinstance(value, datetime.timedelta):
            return whole(value // MICROSECOND, 64)
    elif isinstance(value, (decimal.Decimal, int)):
        exact = decimal.Decimal(value)
        if not exact.is_finite():
            raise OverflowError(f"{value} is no number")
        unscaled = int(exact.quantize(type_.unit, context=EXACT).scaleb(type_.scale, EXACT))
        if abs(unscaled) >= 10 ** type_.precision:
            raise OverflowError(f"{value} has more digits")
        return unscaled
    raise TypeError(f"it is a {type(value).__name__}")


def pack(type_, values):
    """The buffers (data, offsets) of converted values; whatever stands for NULL is in place."""
    kind = type_.kind
    if kind == BOOL:
        return bitmap(values), b""
    if kind in VARIABLE:
        ends = array.array("i", itertools.accumulate(map(len, values), initial=0))
        return b"".join(values), ends.tobytes()
    if kind == DECIMAL:
        return b"".join(value.to_bytes(16, "little", signed=True) for value in values), b""
    return array.array(ARRAY_CODE[kind], values).tobytes(), b""


EMPTY = {BOOL: False, STRING: b"", BYTES: b"", FLOAT64: 0.0}


def encode_values(type_, values, errors, name):
    """(nulls, validity, data, offsets) of the values of a scalar function."""
    if type_.kind in (INT32, INT64, FLOAT64):
        try:  # The common case at the speed of C; it takes what convert() takes.
            data, offsets = pack(type_, values)
            return 0, b"", data, offsets
        except (TypeError, ValueError, OverflowError):
            pass
    converted, present = [], []
    empty = EMPTY.get(type_.kind, 0)
    for row, value in enumerate(values):
        if value is not None:
            try:
                converted.append(convert(value, type_))
                present.append(True)
                continue
            except (TypeError, ValueError, OverflowError, ArithmeticError) as error:
                errors.setdefault(row, f"{name}: the result {value!r:.100} is no {type_.name()}: "
                                       f"{error}")
        converted.append(empty)
        present.append(False)
    data, offsets = pack(type_, converted)
    nulls = present.count(False)
    return nulls, bitmap(present) if nulls else b"", data, offsets


def encode_array(result):
    """The same of an array of Arrow."""
    import pyarrow
    rows = len(result)
    if result.offset != 0:
        result = result.take(pyarrow.array(range(rows), pyarrow.int32()))
    buffers = [b"" if one is None else memoryview(one) for one in result.buffers()]
    validity, *offsets, data = buffers
    if offsets:
        ends = offsets[0][:(rows + 1) * 4]
        offsets = bytes(ends) if len(ends) else bytes(4)
        data = data[:struct.unpack_from("<i", offsets, rows * 4)[0]]
    else:
        offsets = b""
        width = result.type.bit_width
        data = data[:(rows * width + 7) // 8]
    nulls = result.null_count
    return nulls, bytes(validity[:(rows + 7) // 8]) if nulls else b"", bytes(data), offsets


def encode_batch(rows, columns):
    """`columns`: (kind, (nulls, validity, data, offsets)) each."""
    parts = [BATCH.pack(BATCH_MAGIC, len(columns), rows, 0, 0)]
    for kind, (nulls, validity, data, offsets) in columns:
        parts.append(COLUMN.pack(kind, 0, nulls, len(validity), len(data), len(offsets)))
    for _, (_, validity, data, offsets) in columns:
        for buffer in (validity, data, offsets):
            parts.append(buffer)
            parts.append(bytes(padded(len(buffer)) - len(buffer)))
    return b"".join(parts)


# ---- Calls.


def describe(name, error):
    """Of an exception of user code: its type, its text and where it was raised."""
    text = f"{name}: {type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    if frames and frames[-1].filename != "<stdin>":
        last = frames[-1]
        text += f" ({os.path.basename(last.filename)}:{last.lineno}, in {last.name})"
    return text


class SetupError(Exception):
    """The worker and the job do not fit together; the text is for the user."""


def load(handler, folders):
    """The function `package.module.name`, of a module in one of the folders."""
    module_name, _, name = handler.rpartition(".")
    top = module_name.partition(".")[0]
    where = ", ".join(folders)
    if not top or importlib.machinery.PathFinder.find_spec(top, folders) is None:
        raise SetupError(f"there is no module '{top}' in {where}")
    try:
        module = importlib.import_module(module_name)
    except BaseException as error:  # Whatever the module does when it is loaded.
        raise SetupError(f"cannot import {describe(module_name, error)}") from error
    place = pathlib.Path(getattr(module, "__file__", None) or "/").resolve()
    if not any(place.is_relative_to(pathlib.Path(folder).resolve()) for folder in folders):
        raise SetupError(f"module '{module_name}' is not in {where}, but a part of Python")
    function = getattr(module, name, None)
    if not callable(function):
        raise SetupError(f"module '{module_name}' has no function '{name}'")
    return function


class Call:
    """One call: a function, and which columns are its arguments."""

    def __init__(self, spec, types):
        self.name = spec["name"]
        self.arguments = spec["arguments"]
        self.result = Type(*spec["result"])
        self.strict = spec["null_on_null_input"]
        self.vectorized = spec["vectorized"]
        self.condition = spec["condition"]  # A column, or -1.
        self.argument_types = [types[column] for column in self.arguments]
        self.function = load(spec["handler"], spec["folders"])

    def run(self, rows, columns, errors):
        chosen = None  # All rows.
        if self.condition >= 0:
            values, _ = columns[self.condition].values()
            chosen = [value is True for value in values]
        run = self.run_vectorized if self.vectorized else self.run_scalar
        return run(rows, [columns[column] for column in self.arguments], chosen, errors)

    def run_scalar(self, rows, columns, chosen, errors):
        made = [column.values() for column in columns]
        for _, bad in made:
            for row, text in bad.items():
                if chosen is None or chosen[row]:
                    errors.setdefault(row, f"{self.name}: {text}")
        function, strict = self.function, self.strict
        results = [None] * rows
        every_row = zip(*(values for values, _ in made)) if made else itertools.repeat(())
        for row, arguments in zip(range(rows), every_row):
            if chosen is not None and not chosen[row] or errors and row in errors:
                continue
            if strict and None in arguments:
                continue
            try:
                results[row] = function(*arguments)
            except Exception as error:  # pylint: disable=broad-except
                errors[row] = describe(self.name, error)
            except SystemExit as error:
                errors[row] = describe(self.name, error)
        return self.result.kind, encode_values(self.result, results, errors, self.name)

    def run_vectorized(self, rows, columns, chosen, errors):
        import pyarrow
        arrays = [column.array() for column in columns]
        wanted = range(rows)
        if errors or chosen is not None:
            wanted = [row for row in wanted
                      if row not in errors and (chosen is None or chosen[row])]
        if self.strict:
            for valid in (one.bits(one.validity) for one in columns if one.nulls):
                wanted = [row for row in wanted if valid[row]]
        if len(wanted) < rows:
            index = pyarrow.array(wanted, pyarrow.int32())
            arrays = [one.take(index) for one in arrays]
        pieces = []
        if wanted:
            self.run_part(arrays, wanted, pieces, errors)
        results = pyarrow.concat_arrays(pieces) if pieces else pyarrow.nulls(0, self.result.arrow())
        if len(wanted) < rows:
            places = [None] * rows
            for place, row in enumerate(wanted):
                places[row] = place
            results = results.take(pyarrow.array(places, pyarrow.int32()))
        return self.result.kind, encode_array(results)

    def run_part(self, arrays, wanted, pieces, errors):
        """Of a part that raises, its halves: until the rows that do so are alone."""
        import pyarrow
        try:
            pieces.append(self.ask(arrays, len(wanted)))
            return
        except (Exception, SystemExit) as error:  # pylint: disable=broad-except
            if len(wanted) == 1:
                errors[wanted[0]] = describe(self.name, error)
                pieces.append(pyarrow.nulls(1, self.result.arrow()))
                return
        half = len(wanted) // 2
        self.run_part([one[:half] for one in arrays], wanted[:half], pieces, errors)
        self.run_part([one[half:] for one in arrays], wanted[half:], pieces, errors)

    def ask(self, arrays, rows):
        import pyarrow
        result = self.function(*arrays) if arrays else self.function(rows)
        wanted = self.result.arrow()
        if isinstance(result, pyarrow.ChunkedArray):
            result = result.combine_chunks()
        if isinstance(result, pyarrow.ChunkedArray):  # Of no chunks.
            result = pyarrow.concat_arrays(result.chunks or [pyarrow.nulls(0, result.type)])
        if not isinstance(result, pyarrow.Array):
            result = pyarrow.array(result, type=wanted, from_pandas=True)
        if isinstance(result, pyarrow.ChunkedArray):
            result = result.combine_chunks()
        if len(result) != rows:
            raise ValueError(f"the result has {len(result)} values, not {rows}")
        if result.type != wanted:
            result = result.cast(wanted)
        result.validate(full=True)
        return result


# ---- The worker.


class Link:
    def __init__(self):
        os.set_inheritable(3, False)
        self.socket = socket.socket(fileno=3)

    def read(self, size):
        data = bytearray(size)
        view, got = memoryview(data), 0
        while got < size:
            count = self.socket.recv_into(view[got:])
            if count == 0:
                os._exit(0)  # The worker is done, or gone.
            got += count
        return view

    def receive(self):
        magic, kind, size = FRAME.unpack(self.read(FRAME.size))
        if magic != MAGIC:
            raise ValueError("malformed frame")
        return kind, self.read(size)

    def send(self, kind, body=b""):
        self.socket.sendall(FRAME.pack(MAGIC, kind, len(body)))
        self.socket.sendall(body)


def error_column(rows, errors):
    if not errors:
        return STRING, (rows, bytes((rows + 7) // 8), b"", bytes((rows + 1) * 4))
    texts = [None] * rows
    for row, text in errors.items():
        texts[row] = text[:ERROR_CHARACTERS_MAX].encode(errors="replace").decode()
    return STRING, encode_values(Type(STRING), texts, {}, "")


def setup(spec):
    folders = [folder for call in spec["calls"] for folder in call["folders"]]
    sys.path[:0] = list(dict.fromkeys(folders + spec["folders"]))
    decimal.getcontext().prec = 38
    decimal.getcontext().rounding = decimal.ROUND_HALF_UP
    types = [Type(*column) for column in spec["columns"]]
    if any(call["vectorized"] for call in spec["calls"]):
        try:
            import pyarrow.compute  # noqa: F401  Before the first batch, whose time is limited.
        except Exception as error:
            raise SetupError(f"vectorised functions need pyarrow, which {sys.executable} cannot "
                             f"import: {error}") from error
    return types, [Call(call, types) for call in spec["calls"]]


def main():
    link = Link()
    kind, body = link.receive()
    if kind != SETUP:
        raise ValueError("the first frame is no setup")
    try:
        types, calls = setup(json.loads(bytes(body)))
    except SetupError as error:
        link.send(FAILED, str(error)[:ERROR_CHARACTERS_MAX].encode(errors="replace"))
        return
    link.send(READY)
    while True:
        kind, body = link.receive()
        if kind != ROWS:
            raise ValueError("a frame holds no rows")
        rows, columns = decode_batch(body, types)
        errors = {}
        results = [call.run(rows, columns, errors) for call in calls]
        link.send(RESULTS, encode_batch(rows, [*results, error_column(rows, errors)]))


if __name__ == "__main__":
    main()
