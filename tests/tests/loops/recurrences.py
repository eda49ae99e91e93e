def durbin(r: Annotated[f64[12], Range(-0.03, 0.03)]):
    y = np.empty_like(r)
    y[0] = -r[0]
    alpha = -r[0]
    beta = 1.0
    for k in range(1, 12):
        beta = (1.0 - alpha * alpha) * beta
        alpha = -(r[k] + r[k - 1 :: -1] @ y[:k]) / beta
        z = y[:k] + alpha * y[k - 1 :: -1]
        y[:k] = z
        y[k] = alpha
    return y
# ---
def floyd_warshall(D: Annotated[i32[7, 7], Range(1, 100)]):
    D = D.copy()
    for k in range(7):
        D[:] = np.minimum(D, D[:, k, None] + D[k])
    return D
# ---
def scan(x: f32[11]):
    y = np.empty(11, dtype=np.float32)
    total = 0.0
    for i in range(11):
        total = total + x[i]
        y[i] = total
    return y, total
# ---
def horner(c: f64[6], x: f64[9]):
    p = np.zeros_like(x)
    for k in range(5, -1, -1):
        p = p * x + c[k]
    return p
# ---
def fibonacci(n: i64):
    a, b = 0, 1
    for _ in range(10):
        a, b = b, a + b
    return a * n, b
# ---
def nussinov(bases: Annotated[i32[8], Index(4)]):
    T = np.zeros((8, 8), dtype=np.int32)
    for i in range(6, -1, -1):
        for j in range(i + 1, 8):
            T[i, j] = np.max(T[i, i:j] + T[i + 1 : j + 1, j])
            if i + 1 < j:
                T[i, j] = np.maximum(T[i, j], T[i + 1, j - 1] + (bases[i] + bases[j] == 3))
    return T
# ---
def power_iteration(A: f64[5, 5]):
    v = np.ones(5)
    for _ in range(4):
        w = A @ v
        norm = np.sqrt(w @ w)
        v = w / norm
    return v, norm
# ---
def argmax(x: f64[9]):
    best, at = x[0], 0
    for i in range(1, 9):
        larger = x[i] > best
        at = np.where(larger, i, at)
        best = np.where(larger, x[i], best)
    return at, best
# ---
def scans(A: f32[4, 5], i: i32[6], b: bool[6], x: f64[7]):
    y = np.cumsum(x) * 2
    y[0] = x.cumprod()[-1]
    z = np.cumsum(A * y[:5].sum(), axis=1)
    return y, z, np.cumsum(A), np.cumprod(i), b.cumsum(0), np.cumsum(i, dtype=np.float32), A.cumprod(-2)
# ---
def accumulations(A: f32[4, 5], i: i32[6], b: bool[6]):
    m = np.maximum.accumulate(A, axis=1)
    for k in range(3):
        m[k] += np.minimum.accumulate(m[k + 1])
        m[k + 1] = np.add.accumulate(m[k])
    return m, np.add.accumulate(A), np.multiply.accumulate(i), np.subtract.accumulate(i), np.logical_and.accumulate(b)
# ---
def ufunc_reductions(A: f32[4, 5], i: i32[6], b: bool[6]):
    return (np.add.reduce(A), np.add.reduce(i), np.multiply.reduce(A, axis=None), np.maximum.reduce(A, axis=1),
            np.minimum.reduce(A, axis=(0, 1), keepdims=True), np.logical_and.reduce(b), np.logical_or.reduce(i),
            np.add.reduce(b), np.add.reduce(i, dtype=np.float64))
# ---
def searches(A: f32[4, 5], i: i32[3, 6], b: bool[7]):
    A[1, 2] = np.nan
    i[1] = 3
    found = np.zeros(4, dtype=np.int64)
    for k in range(4):
        found[k] = A[k, : k + 1].argmax() + np.argmin(A[: k + 1, k])
    return (found, np.argmax(A), A.argmin(0), np.argmax(i, axis=1), i.argmin(axis=1, keepdims=True), np.argmax(b),
            b.argmin(), np.argmax(i), np.argmin(A, axis=1), np.argmax(i, keepdims=True))
