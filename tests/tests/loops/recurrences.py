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
