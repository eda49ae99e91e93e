def step(A, k):
    for i in range(1, 5):
        A[i] = (A[i - 1] + A[i + 1]) * k
    return A[0] + A[5]

def calls(x: f64[6]):
    total = step(x, 0.5)
    for t in range(3):
        y = step(x, t)
        total = total + y
    step_result = step(x.copy(), 2)
    return total, step_result
# ---
def smooth(u):
    v = u.copy()
    v[1:-1] = (u[:-2] + u[2:]) / 2
    return v

def local_arrays(u: f64[7], w: f64[7]):
    for _ in range(3):
        u = smooth(u) + smooth(w)[::-1]
    return u
# ---
W = np.array([0.25, 0.5, 0.25])

def clear(x):
    x[:] = 0

def no_result(x: f64[5], y: f64[5]):
    for i in range(1, 4):
        y[i] = W @ x[i - 1 : i + 2]
    clear(x[1:-1])
    return y
