def lu(A: Annotated[f64[7, 7], SPD]):
    A = A.copy()
    for k in range(7):
        A[k + 1 :, k] /= A[k, k]
        A[k + 1 :, k + 1 :] -= np.outer(A[k + 1 :, k], A[k, k + 1 :])
    return A
# ---
def lu_in_place(A: Annotated[f64[6, 6], SPD]):
    n = len(A)
    for k in range(n - 1):
        A[k + 1 :, k] = A[k + 1 :, k] / A[k, k]
        A[k + 1 :, k + 1 :] = A[k + 1 :, k + 1 :] - A[k + 1 :, k, None] * A[None, k, k + 1 :]
# ---
def lu_of_rows(A: Annotated[f64[6, 6], SPD]):
    n = A.shape[0]
    for i in range(n):
        for j in range(i):
            A[i, j] = (A[i, j] - A[i, :j] @ A[:j, j]) / A[j, j]
        for j in range(i, n):
            A[i, j] -= A[i, :i] @ A[:i, j]
    return A
# ---
def cholesky(A: Annotated[f64[6, 6], SPD]):
    L = np.zeros_like(A)
    for j in range(6):
        L[j, j] = np.sqrt(A[j, j] - np.sum(L[j, :j] ** 2))
        L[j + 1 :, j] = (A[j + 1 :, j] - L[j + 1 :, :j] @ L[j, :j]) / L[j, j]
    return L
# ---
def gramschmidt(A: Annotated[f64[8, 5], Range(-1, 1)]):
    A = A.copy()
    Q = np.empty_like(A)
    R = np.zeros((5, 5))
    for k in range(5):
        R[k, k] = np.sqrt(np.sum(A[:, k] ** 2))
        Q[:, k] = A[:, k] / R[k, k]
        R[k, k + 1 :] = Q[:, k] @ A[:, k + 1 :]
        A[:, k + 1 :] -= np.outer(Q[:, k], R[k, k + 1 :])
    return Q, R
# ---
def trisolv(L: Annotated[f64[9, 9], SPD], b: f64[9]):
    x = np.empty_like(b)
    for i in range(9):
        x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]
    for i in range(8, -1, -1):
        x[i] = (x[i] - np.dot(L[i + 1 :, i], x[i + 1 :])) / L[i, i]
    return x
