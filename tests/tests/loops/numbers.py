def indices_as_numbers(x: f32[8], i: i32[8]):
    y = np.empty_like(x)
    j = np.empty_like(i)
    z = np.empty(8)
    for k in range(8):
        y[k] = (k + 1) * x[k]
        j[k] = i[k] * k - k // 2
        z[k] = float(k) / 3 + k * k % 5 + math.sqrt(k) + abs(k - 4)
    return y, j, z
# ---
def steps(x: f64[12]):
    y = np.zeros_like(x)
    for k in range(1, 12, 3):
        y[k] = x[k - 1] + k
    for k in range(10, 0, -2):
        y[k] += x[k + 1] * k
    for k in range(11, -1, -1):
        for j in range(k, -1, -1):
            y[j] += k - j
    for k in range(0, 12, 4):
        y[k : k + 3 : 2] = k
    return y
# ---
def weak_numbers(x: f32[6]):
    scale = 1.0
    count = 0
    out = np.empty((6,), dtype=np.float32)
    for k in range(6):
        scale = scale * 0.5
        count += 2
        out[k] = x[k] * scale + count
    return out, scale, count
# ---
def extents(A: f64[5, 7]):
    out = np.zeros(5)
    for k in range(5):
        tail = A[k:, k + 1 :]
        out[k] = len(tail) + tail.shape[1] * 10 + tail.mean() + tail[:, 0].mean() + tail.T.size / 4
    return out
# ---
def strong_scalars(x: f32[6], n: i32):
    best = x[0]
    count = n
    for k in range(1, 6):
        best = np.maximum(best, x[k])
        count = count * n
    return best, count * x
# ---
def reductions(A: f64[5, 6]):
    out = np.zeros((5, 6))
    for k in range(1, 5):
        B = A[:k, k:]
        out[k, 0] = B.sum() + B.max() - B.min() + B.prod()
        out[k, k:] = B.sum(0) + B.max(axis=0, keepdims=True)[0]
        out[:k, k] = B.mean(1) + (B > 0.5).any(1) + np.where(B > 0.25, B, 1.0).prod(axis=1)
        out[0, 1:3] = np.einsum("ij,ij,i->", B, B, A[:k, 0]) + np.inner(B[0], B[-1])
    return out
# ---
def products(A: f64[6, 6]):
    out = A.copy()
    for k in range(1, 6):
        out[:k, k:] = A[:k, :k] @ A[:k, k:]
        out[k:, :k] = np.dot(A[k:], A[:, :k]) + np.add.outer(A[k:, 0], A[0, :k])
        out[k, k] = A[k, :k] @ A[:k, :k] @ A[:k, k]
        out[:k, k - 1] += A[:k, ::-1] @ A[0, ::-1]
    return out
