def jacobi_1d(A: f64[20], B: f64[20]):
    for t in range(5):
        B[1:-1] = 0.33333 * (A[:-2] + A[1:-1] + A[2:])
        A[1:-1] = 0.33333 * (B[:-2] + B[1:-1] + B[2:])
# ---
def jacobi_2d(A: f32[9, 8]):
    A = A.copy()
    B = A.copy()
    for t in range(4):
        B[1:-1, 1:-1] = 0.2 * (A[1:-1, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[2:, 1:-1] + A[:-2, 1:-1])
        A[1:-1, 1:-1] = 0.2 * (B[1:-1, 1:-1] + B[1:-1, :-2] + B[1:-1, 2:] + B[2:, 1:-1] + B[:-2, 1:-1])
    return A
# ---
def seidel_2d(A: f64[7, 6]):
    for t in range(3):
        for i in range(1, 6):
            for j in range(1, 5):
                A[i, j] = (A[i - 1, j - 1] + A[i - 1, j] + A[i - 1, j + 1] + A[i, j - 1] + A[i, j] + A[i, j + 1]
                           + A[i + 1, j - 1] + A[i + 1, j] + A[i + 1, j + 1]) / 9.0
    return A
# ---
def shifted_in_place(x: f64[12]):
    for t in range(3):
        x[1:] = x[:-1]
        x[:-1] += x[1:]
        x[::-1] = x
    return x
# ---
def rebound(u: f64[12], dt: f64):
    for t in range(6):
        u = u + dt * (np.roll(u, 1) - 2 * u + np.roll(u, -1))
    return u
# ---
def fdtd_2d(ex: f64[6, 7], ey: f64[6, 7], hz: f64[6, 7], source: f64[5]):
    for t in range(5):
        ey[0, :] = source[t]
        ey[1:, :] -= 0.5 * (hz[1:, :] - hz[:-1, :])
        ex[:, 1:] -= 0.5 * (hz[:, 1:] - hz[:, :-1])
        hz[:-1, :-1] -= 0.7 * (ex[:-1, 1:] - ex[:-1, :-1] + ey[1:, :-1] - ey[:-1, :-1])
    return ex, hz
