def views_see_writes(A: f64[4, 5]):
    row = A[1]
    column = A.T[2]
    A[1, 2] = 7.0
    copy = row.copy()
    row[0] = column[1]
    column += 1
    return copy, row, column
# ---
def through_transposes(A: f64[4, 5]):
    B = A.copy()
    B.T[1:, 0] = 3
    B.T[2] -= B[:, 1]
    V = B[1:, ::2]
    V[1, 1:] = [5, 6]
    W = V[::-1].T
    W[0] = W[1]
    B[None, 0, :, None][0, 1] = 9
    np.flip(B, 0)[0, 0] = -1
    return B, V
# ---
def reshaped_reads(A: f64[4, 6]):
    flat = A.reshape(-1)
    turned = A.T.reshape(-1)
    A[0] = 0
    return flat * 1, turned
# ---
def live_views(A: f64[6, 6]):
    for k in range(5):
        below = A[k + 1 :, k:]
        row = A[k, k:]
        below -= row
        below[0] = row * 2
        below.T[0] += k
    return A
# ---
def temporaries_keep_their_value(x: f64[5]):
    before = x * 2
    first = x[0]
    x[:] = 1
    after = x * 2
    x[0] = first
    return before, after, first
# ---
def broadcast_values(A: f64[3, 4], v: f32[4], i: i64[4]):
    A[...] = 1
    A[1:] = v
    A[:, 1] = np.array([[[4, 5, 6]]])
    A[1, :3] = [1, 2, 3]
    A[2, :2] = i[:2]
    i[1] = 2.75
    i[2] += 1.5
    return i
# ---
def augmented_copies(x: f64[6]):
    y = x[1:].copy()
    z = y
    z += 1
    y *= 2
    y[::2] -= y[1::2].sum()
    return z
# ---
def overlapping_swap(x: f64[6]):
    x[:3], x[3:] = x[3:].copy(), x[:3].copy()
    x[0], x[1] = x[1], x[0]
    return x
# ---
def a_fresh_array_each_time(x: f64[4]):
    out = np.empty((3, 4))
    for i in range(3):
        row = np.zeros(4)
        row[i:] = x[i:] + i
        out[i] = row
    return out
# ---
def filled(x: f64[4]):
    a = np.full((2, 4), 3.0)
    b = np.ones_like(x)
    a[1] = x
    b[0] = a[0, 1]
    c = np.array([x, x])
    c[0, 0] = 1
    return a, b, c, x
# ---
def rank_zero(x: f64[3]):
    total = np.zeros(())
    for i in range(3):
        total += x[i]
        total[...] = total * 2
    return total
# ---
def shared_memory(A: f64[3, 4]):
    x = A + 1
    y = x.T
    y += 1
    items = [A * 3]
    z = items[0]
    z *= 2
    n = np.array(3.0)
    m = n
    n += 1
    return x, items[0], m
# ---
def changes_its_argument(x):
    x += 1
    return x

def a_changed_argument(A: f64[3, 4]):
    y = A * 2
    z = changes_its_argument(y)
    return z + y
# ---
def sections_of_computed_values(A: f64[8], B: f64[8], C: f64[8, 8]):
    for k in range(7):
        B[k] = (A[k + 1:] * 2.0)[0] + (A[:k + 1] - B[:k + 1])[-1]
        C[k, 1:k + 1] -= (C[:k + 1, k] * A[k])[1:]
        for j in range(k + 1):
            C[j, k] += (C[k, :k + 1] * C[:k + 1, 7])[j]
    return B, C
