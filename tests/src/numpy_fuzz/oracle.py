"""NumPy as the judge of many programs, one after the other: requests on stdin, answers on stdout.

A message is a line of JSON, which says how many bytes follow, and those bytes: arrays, row-major, one after the other.

  run        the program as it stands: what it returns, what its arguments hold afterwards, or the exception
  tolerance  how far a result may be off: the program in long double, and runs in which an array subclass moves what
             rounding or another order of a sum may move

In the runs of a tolerance every array is a `Traced`: it sees each ufunc and function of NumPy by way of
`__array_ufunc__` and `__array_function__`. Four kinds of runs:

  record   nothing moves; what is decided by comparing or rounding floats is written down
  spread   every float result moves by an ulp or so, and what is decided stays as recorded: the error of continuous values
  decide   only what the numerics allow to change before a decision moves, and decisions are taken anew: a value that
           hangs on a comparison or a floor that may go either way differs there
  wide     floats are long doubles, nothing moves, and what is decided stays as recorded
"""

import json
import sys
import types
import warnings

import numpy

PRODUCT, SUM = 1, 2
FLOATS = "fdg"
# Results that are exact, whatever the operands.
UNROUNDED = {"negative", "positive", "absolute", "fabs", "maximum", "minimum", "fmax", "fmin", "clip", "conjugate"}
# Float results that jump.
JUMPS = {"floor", "ceil", "trunc", "rint", "sign", "floor_divide"}
# Operations that IEEE 754 rounds correctly.
ROUNDED = {"add", "subtract", "multiply", "divide", "sqrt", "square", "reciprocal"}
# Functions whose zeros leave terms out of a sum.
MASKS = {"tril", "triu", "where", "pad", "concatenate", "stack", "hstack", "vstack", "column_stack", "block"}
CONTRACTIONS = {"einsum", "dot", "inner", "vdot", "tensordot", "matmul", "vecdot", "matvec", "vecmat"}


class Run:
    """What a run of a program does to its values."""

    def __init__(self, mode, numerics, pins, seed, ulps):
        self.mode, self.numerics, self.pins, self.ulps = mode, numerics, pins, ulps
        self.at = 0
        # The dtypes that the program looked at.
        self.kinds = []
        self.random = numpy.random.Generator(numpy.random.PCG64(seed))
        self.peak = 0.0
        # The largest sum of absolute values of finite terms of a product of arrays, if there is one.
        self.terms = None
        # A mask has made zeros, by which a sum's terms may be multiplied.
        self.masked = False

    def moved(self, value, ulps=1.0):
        """Each element up to `ulps` times the run's ulps away; zeros and what is not finite stay."""
        value = numpy.asarray(value)
        if value.dtype.char not in FLOATS or not value.size:
            return value
        if self.mode == "spread":
            steps = self.random.integers(-1, 2, value.shape) * (ulps * self.ulps)
        else:
            most = max(1, int(ulps * self.ulps))
            steps = self.random.integers(1, most + 1, value.shape) * self.random.choice([-1.0, 1.0], value.shape)
        stays = ~numpy.isfinite(value) | (value == 0)
        step = numpy.spacing(numpy.abs(numpy.where(stays, value.dtype.type(1), value))) * steps.astype(value.dtype)
        return numpy.where(stays, value, value + step)

    def decided(self, taken):
        """The recorded decision, or the one that is taken now, where decisions are free."""
        if self.mode == "decide":
            return taken
        if self.mode == "record":
            self.pins.append(numpy.array(taken))
            return taken
        pin = self.pins[self.at]
        self.at += 1
        return pin.astype(numpy.asarray(taken).dtype)

    def jumped(self, taken):
        """What jumps by one, as recorded, but where one is no more than an ulp: there it goes with its operands."""
        pin = self.decided(taken)
        if self.mode not in ("spread", "wide"):
            return pin
        with numpy.errstate(all="ignore"):
            coarse = numpy.spacing(numpy.abs(self.pins[self.at - 1])) >= 1
        return numpy.where(coarse, taken, pin).astype(pin.dtype)

    def kind(self, dtype):
        """A dtype that the program looks at: in long double the recorded one."""
        if self.mode == "record":
            self.kinds.append(dtype)
        return self.kinds.pop(0) if self.mode == "wide" and self.kinds else dtype

    def seen(self, value):
        if self.mode == "wide":
            value = numpy.abs(numpy.asarray(value))
            value = value[numpy.isfinite(value)]
            if value.size:
                self.peak = max(self.peak, float(min(value.max(), numpy.longdouble(1.7e308))))

    def moves(self, name, made):
        """Which of a float operation's operands and results move: (operands, result)."""
        if self.mode in ("record", "wide") or name in UNROUNDED or name in JUMPS:
            return False, False
        if name in CONTRACTIONS:
            return True, True
        if name not in ROUNDED and name not in ("sum", "accumulate"):
            return False, True
        if self.numerics == "exact":
            return False, False
        if self.mode == "spread" or self.numerics == "algebraic":
            return name in ("add", "subtract", "sum", "accumulate"), True
        # A product that is added to, a sum of sums, a product of products.
        if name in ("sum", "accumulate"):
            return True, True
        if name in ("add", "subtract"):
            return bool(made), bool(made & SUM)
        return False, name in ("multiply", "square") and bool(made & PRODUCT)


RUN = None


def bare(value):
    """The array itself; in long double where the run is wide."""
    if isinstance(value, Traced):
        value = value.view(numpy.ndarray)
    if RUN.mode == "wide" and isinstance(value, (numpy.ndarray, numpy.generic)) and value.dtype.char in "fd":
        value = value.astype(numpy.longdouble)
    return value


def bare_all(value):
    if isinstance(value, (list, tuple)):
        return type(value)(bare_all(item) for item in value)
    return bare(value)


def how_made(value):
    if isinstance(value, (list, tuple)):
        made = 0
        for item in value:
            made |= how_made(item)
        return made
    return getattr(value, "made", 0)


def traced(value, made=0, scalar=None):
    value = numpy.asarray(value).view(Traced)
    value.made = made
    value.scalar = value.ndim == 0 if scalar is None else scalar
    return value


def wrapped(value, made):
    if isinstance(value, (list, tuple)):
        return type(value)(wrapped(item, made) for item in value)
    if isinstance(value, numpy.ndarray):
        scalar = getattr(value, "scalar", value.ndim == 0)
        return traced(value, made, scalar)
    return traced(value, made) if isinstance(value, numpy.generic) else value


def element_type(dtype):
    """A dtype as the run has it."""
    if dtype is None:
        return None
    dtype = dtype.dtype if isinstance(dtype, Type) else numpy.dtype(dtype)
    return numpy.dtype(numpy.longdouble) if RUN.mode == "wide" and dtype.char in "fd" else dtype


def is_float(value):
    return isinstance(value, float) or getattr(getattr(value, "dtype", None), "char", "?") in FLOATS


def converted(value, dtype):
    """`astype`: a float that becomes an integer or a bool is a decision."""
    nominal = dtype.dtype if isinstance(dtype, Type) else numpy.dtype(dtype)
    array = bare(value)
    array = numpy.asarray(array)
    if array.dtype.char in FLOATS and nominal.char not in FLOATS:
        return RUN.decided(array.astype(nominal))
    # A float32 has its few digits in long double, too.
    result = array.astype(nominal)
    if RUN.mode == "spread" and array.dtype.char == "d" and nominal.char == "f" and RUN.numerics != "exact":
        result = RUN.moved(result)
    return result.astype(element_type(nominal))


class Traced(numpy.ndarray):
    """An array whose operations the run sees. `made`: what kind of operation it came from. `scalar`: a NumPy scalar in the
    plain run, which in-place operators do not change."""

    __array_priority__ = 1000.0

    @property
    def dtype(self):
        dtype = numpy.ndarray.dtype.__get__(self)
        return RUN.kind(dtype) if sys._getframe(1).f_code.co_filename == PROGRAM else dtype

    def __array_finalize__(self, parent):
        self.made = getattr(parent, "made", 0)
        self.scalar = False

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        name = ufunc.__name__
        made = how_made(inputs)
        args = [bare(value) for value in inputs]
        options = {key: value for key, value in options.items() if key != "subok"}
        if options.get("dtype") is not None:
            options["dtype"] = element_type(options["dtype"])
        if "initial" in options and options["initial"] is numpy._NoValue:
            del options["initial"]
        floats = any(is_float(value) for value in args)
        kind = name
        if method in ("reduce", "accumulate", "at") and name in ("add", "multiply"):
            kind = "sum" if name == "add" else "prod"
        if method == "accumulate" and name == "add":
            kind = "accumulate"
        operands, moves = RUN.moves(kind, made) if floats else (False, False)
        if method == "at":
            target, index = args[0], args[1]
            rest = [RUN.moved(value) if operands and is_float(value) else value for value in args[2:]]
            getattr(ufunc, "at")(target, index, *rest)
            if moves:
                target[...] = RUN.moved(target)
            inputs[0].made |= SUM if name in ("add", "subtract") else PRODUCT
            return None
        count = 1.0
        if method == "reduce" and numpy.ndim(args[0]):
            count = max(1.0, numpy.size(args[0]) ** 0.5 / 2.0)
            if floats and name == "add":
                RUN.seen(numpy.sum(numpy.abs(args[0])))
        if operands:
            args = [RUN.moved(value) if is_float(value) and not isinstance(value, float) else value for value in args]
        call = getattr(ufunc, method)
        if name in CONTRACTIONS:
            see_terms(call, args, options)
        target = out[0] if out else None
        try:
            result = call(*args, **options)
        except TypeError:
            if RUN.mode != "wide":
                raise
            # A function without a long double.
            args = [value.astype(float) if is_float(value) and not isinstance(value, float) else value for value in args]
            options["dtype"] = None
            result = call(*args, **{key: value for key, value in options.items() if value is not None})
            result = numpy.asarray(result).astype(numpy.longdouble)
        made_now = made if name in UNROUNDED else 0
        if name in ("add", "subtract") or kind in ("sum", "accumulate") or name in CONTRACTIONS:
            made_now = SUM | (PRODUCT if name in CONTRACTIONS else 0)
        elif name in ("multiply", "square") or kind == "prod":
            made_now = PRODUCT
        if floats and not is_float(numpy.asarray(result)):
            result, made_now = RUN.decided(result), 0
        elif floats and name in JUMPS:
            result, made_now = RUN.jumped(result), 0
        elif floats and name == "remainder":
            quotient = RUN.decided(numpy.floor_divide(*args))
            if RUN.mode in ("spread", "wide"):
                with numpy.errstate(all="ignore"):
                    smooth = args[0] - quotient * args[1]
                result = numpy.where(numpy.isfinite(result) & numpy.isfinite(smooth), smooth, result).astype(result.dtype)
        elif moves:
            # A function has several ulps, in NumPy and elsewhere.
            own = count if kind in ROUNDED or kind == "sum" else 4.0 * count
            result = RUN.moved(result, own)
        RUN.seen(result) if is_float(numpy.asarray(result)) else None
        if target is None:
            return wrapped(result, made_now)
        # NumPy's rules for what may be stored in place.
        if not numpy.can_cast(numpy.asarray(result).dtype, target.dtype, options.get("casting", "same_kind")):
            raise numpy.exceptions.DTypePromotionError("cannot be stored in place")
        bare_target = target.view(numpy.ndarray)
        if bare_target.shape != numpy.shape(result):
            raise ValueError("non-broadcastable output operand")
        bare_target[...] = result
        if isinstance(target, Traced):
            target.made = made_now
        return target

    def __array_function__(self, function, types, args, options):
        name = function.__name__
        made = how_made(args)
        if options.get("dtype") is not None:
            options = {**options, "dtype": element_type(options["dtype"])}
        if name in CONTRACTIONS:
            return contraction(function, args, options, made)
        if name == "astype":
            return traced(converted(*args), made)
        RUN.masked |= name in MASKS
        if name in ("zeros_like", "ones_like", "empty_like", "full_like"):
            made = 0
        result = super().__array_function__(function, types, args, options)
        return wrapped(result, how_made(result) | made)

    def __getitem__(self, index):
        result = self.view(numpy.ndarray)[bare_all(index)]
        # Integers alone give a scalar.
        return traced(result, self.made, not isinstance(result, numpy.ndarray))

    def __setitem__(self, index, value):
        self.made |= how_made(value)
        value = bare_all(value)
        if is_float(value) and self.dtype.char not in FLOATS:
            value = RUN.decided(numpy.asarray(value).astype(self.dtype))
        self.view(numpy.ndarray)[bare_all(index)] = value

    def __float__(self):
        return float(self.view(numpy.ndarray))

    def __int__(self):
        value = self.view(numpy.ndarray)
        return int(RUN.decided(numpy.trunc(value))) if is_float(value) else int(value)

    def __bool__(self):
        value = self.view(numpy.ndarray)
        return bool(RUN.decided(value != 0)) if is_float(value) else bool(value)

    def astype(self, dtype, *args, **options):
        return traced(converted(self, dtype), self.made)

    def copy(self, order="C"):
        return traced(self.view(numpy.ndarray).copy(order), self.made, self.scalar)

    def dot(self, other):
        return contraction(numpy.dot, (self, other), {}, 0)

    def argmax(self, *args, **options):
        return traced(RUN.decided(self.view(numpy.ndarray).argmax(*args, **options)))

    def argmin(self, *args, **options):
        return traced(RUN.decided(self.view(numpy.ndarray).argmin(*args, **options)))


def in_place(name):
    operator = getattr(numpy.ndarray, name)
    function = getattr(numpy.ndarray, name.replace("__i", "__", 1))

    def method(self, other):
        return function(self, other) if self.scalar else operator(self, other)

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "or", "xor", "matmul"):
    setattr(Traced, f"__i{_name}__", in_place(f"__i{_name}__"))


def see_terms(product, args, options):
    """In a wide run: how large the sums of a product of arrays may become, in whatever order they are made."""
    if RUN.mode != "wide":
        return
    sizes = [numpy.abs(value) if is_float(value) else value for value in args]
    finite = [numpy.where(numpy.isfinite(value), value, 0) if is_float(value) else value for value in sizes]
    with numpy.errstate(all="ignore"):
        RUN.seen(product(*sizes, **options))
        terms = numpy.asarray(product(*finite, **options))
    if is_float(terms) and terms.size:
        RUN.terms = max(RUN.terms or 0.0, float(min(terms.max(), numpy.longdouble(1.7e308))))


def contraction(function, args, options, made):
    """A product of arrays: the terms move, and the sum."""
    args = bare_all(list(args))
    options = {key: bare_all(value) for key, value in options.items()}
    moves = RUN.moves(function.__name__, made)[0]
    if moves:
        args = [RUN.moved(value) if is_float(value) and not isinstance(value, float) else value for value in args]
    see_terms(function, args, options)
    result = function(*args, **options)
    if is_float(numpy.asarray(result)):
        RUN.seen(result)
        result = RUN.moved(result, 2.0) if moves else result
    return wrapped(result, SUM | PRODUCT)


class Type:
    """`np.float64` and its like: a dtype, and a function."""

    def __init__(self, dtype):
        self.dtype = numpy.dtype(dtype)

    def __call__(self, value=0):
        if isinstance(value, Traced):
            return traced(converted(value, self.dtype), value.made)
        return traced(numpy.asarray(self.dtype.type(value)).astype(element_type(self.dtype)))


def creation(name):
    function = getattr(numpy, name)
    has_default = name in ("zeros", "ones", "empty", "eye", "identity", "tri")

    def create(*args, **options):
        position = {"zeros": 1, "ones": 1, "empty": 1, "full": 2, "identity": 1}.get(name)
        args = list(bare_all(args))
        args = [value.dtype if isinstance(value, Type) else value for value in args]
        if position is not None and len(args) > position:
            options["dtype"] = args.pop(position)
        if options.get("dtype") is not None:
            options["dtype"] = element_type(options["dtype"])
        elif has_default:
            options["dtype"] = element_type(float)
        options = {key: bare_all(value) for key, value in options.items()}
        result = function(*args, **options)
        if result.dtype.char in "fd" and RUN.mode == "wide":
            result = result.astype(numpy.longdouble)
        return traced(result, 0, False)

    return create


def array(value, dtype=None, **options):
    made = how_made(value)
    result = numpy.array(bare_all(value), **options)
    if dtype is not None:
        result = converted(traced(result, made, False), dtype)
    elif RUN.mode == "wide" and result.dtype.char in "fd":
        result = result.astype(numpy.longdouble)
    return traced(result, made, False)


def asarray(value, dtype=None, **options):
    if isinstance(value, Traced) and (dtype is None or element_type(dtype) == value.dtype):
        return value.view(Traced) if not value.scalar else traced(value.view(numpy.ndarray).copy(), value.made, False)
    return array(value, dtype)


class Module(types.ModuleType):
    """NumPy for the traced runs."""

    def __getattr__(self, name):
        return getattr(numpy, name)


TRACING = Module("numpy")
TRACING.array, TRACING.asarray, TRACING.ascontiguousarray = array, asarray, asarray
for _name in ("zeros", "ones", "empty", "full", "arange", "eye", "identity", "tri"):
    setattr(TRACING, _name, creation(_name))
for _name, _dtype in [("float32", "f4"), ("float64", "f8"), ("int32", "i4"), ("int64", "i8"), ("bool_", "?")]:
    setattr(TRACING, _name, Type(_dtype))


def function_of(source, module):
    code = COMPILED.get(source)
    if code is None:
        COMPILED.clear()
        code = COMPILED[source] = compile(source, PROGRAM, "exec")
    before = sys.modules["numpy"]
    sys.modules["numpy"] = module
    try:
        names = {"__name__": "program"}
        exec(code, names)
        return names["f"]
    finally:
        sys.modules["numpy"] = before


COMPILED = {}
PROGRAM = "program.py"


def read_arrays(described, data):
    arrays, at = [], 0
    for dtype, shape in described:
        count = int(numpy.prod(shape, dtype=int))
        size = count * numpy.dtype(dtype).itemsize
        arrays.append(numpy.frombuffer(data[at : at + size], dtype).reshape(shape).copy())
        at += size
    return arrays


def as_results(returned):
    if returned is None:
        return ()
    return returned if isinstance(returned, (tuple, list)) else (returned,)


def plain_run(source, arrays):
    arguments = [value.copy() for value in arrays]
    given = [value if value.ndim else value[()] for value in arguments]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", message="invalid value encountered in cast")
        results = as_results(function_of(source, numpy)(*given))
    return [numpy.array(value, order="C") for value in results], arguments, bool(caught)


def traced_run(source, arrays):
    arguments = [traced(bare(value.copy()), 0, value.ndim == 0) for value in arrays]
    results = as_results(function_of(source, TRACING)(*arguments))
    return [numpy.array(bare(value), order="C") for value in [*results, *arguments]]


def run(request, data):
    try:
        results, arguments, undefined = plain_run(request["source"], read_arrays(request["args"], data))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}, []
    described = [[value.dtype.str[1:], list(value.shape)] for value in results]
    return {"results": described, "undefined": undefined}, [*results, *arguments]


def deviation(plain, other):
    """How far apart two results are, by element: infinite where one is finite and the other is not."""
    if plain.shape != other.shape:
        return numpy.full(plain.shape, numpy.inf)
    x, y = plain.astype(numpy.longdouble), other.astype(numpy.longdouble)
    both = numpy.isfinite(x) & numpy.isfinite(y)
    neither = ~numpy.isfinite(x) & ~numpy.isfinite(y)
    far = numpy.abs(numpy.where(both, x, 0) - numpy.where(both, y, 0))
    return numpy.where(both, far, numpy.where(neither, 0, numpy.inf)).astype(float)


def tolerance(request, data):
    global RUN
    source, numerics = request["source"], request["numerics"]
    arrays = read_arrays(request["args"], data)
    try:
        results, arguments, _ = plain_run(source, arrays)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}, []
    plain = [*results, *arguments]
    spread = [numpy.zeros(value.shape) for value in plain]
    undecided = [numpy.zeros(value.shape, "?") for value in plain]
    answer = {"opaque": "", "failed": ""}
    pins = []
    RUN = Run("record", numerics, pins, 0, 0.0)
    same = traced_run(source, arrays)
    kinds = RUN.kinds
    for at, (value, again) in enumerate(zip(plain, same)):
        if value.dtype != again.dtype or value.shape != again.shape:
            answer["opaque"] = f"array {at} is {again.dtype}{again.shape} where its operations are traced"
            continue
        with numpy.errstate(all="ignore"):
            near = deviation(value, again) <= 1e-3 * numpy.abs(value.astype(float))
        if not numpy.all(near | ~numpy.isfinite(value.astype(float))):
            answer["opaque"] = f"array {at} is another one where its operations are traced"
    runs, seed = request["runs"], request["seed"]
    wild = 64.0 if numerics == "algebraic" else 1.0
    for number in range(runs):
        free = number >= runs // 2
        ulps = wild * [1, 1, 2, 4, 8, 16, 64, 2][number % 8] if free else wild
        RUN = Run("decide" if free else "spread", numerics, pins, seed * 1000 + number, ulps)
        try:
            moved = traced_run(source, arrays)
        except Exception as error:
            # What is decided otherwise may be an error, of an index or an exponent.
            answer["failed"] = f"{type(error).__name__}: {error}"
            continue
        for at, value in enumerate(moved):
            apart = deviation(plain[at], value)
            if not free:
                spread[at] = numpy.maximum(spread[at], apart)
            elif value.dtype.char in FLOATS:
                # Further than what moves could bring it.
                with numpy.errstate(all="ignore"):
                    ulp = numpy.spacing(numpy.abs(plain[at])).astype(float)
                    undecided[at] |= apart > 64.0 * ulps / wild * (spread[at] + ulp)
                    undecided[at] |= numpy.isinf(apart)
            else:
                undecided[at] |= apart > 0
    RUN = Run("wide", numerics, pins, 0, 0.0)
    RUN.kinds = kinds
    try:
        wide = traced_run(source, arrays)
        answer["peak"], answer["terms"], answer["masked"] = RUN.peak, RUN.terms, RUN.masked
    except Exception as error:
        answer["opaque"] = answer["opaque"] or f"in long double: {type(error).__name__}: {error}"
        wide, answer["peak"] = plain, 0.0
    wide = [value.astype(float) if value.shape == of.shape else of.astype(float) for value, of in zip(wide, plain)]
    return answer, [value for each in zip(wide, spread, undecided) for value in each]


def main():
    numpy.seterr(all="ignore", invalid="warn")
    warnings.simplefilter("ignore")
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["bytes"])
        answer, arrays = (run if request["op"] == "run" else tolerance)(request, data)
        body = b"".join(numpy.ascontiguousarray(value).tobytes() for value in arrays)
        answer["bytes"] = len(body)
        answers.write(json.dumps(answer).encode() + b"\n" + body)
        answers.flush()


main()
