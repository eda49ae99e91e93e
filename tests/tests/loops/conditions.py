def guarded(x: f64[9]):
    y = np.zeros_like(x)
    for i in range(9):
        if i > 0:
            y[i] = x[i - 1]
        elif i == 0:
            y[i] = 5
        if i == 3 or i == 5 or i > 7:
            y[i] -= 1
        else:
            y[i] += 1
        if not (2 <= i < 6):
            y[i] *= 2
        if i != 4 and i > 1:
            y[i] += x[i - 2]
    return y
# ---
def two_variables(A: f64[6, 6]):
    B = np.zeros_like(A)
    for i in range(6):
        for j in range(6):
            if i < j:
                B[i, j] = A[i, j]
            elif i == j:
                B[i, j] = A[i, j] / 2 + (i == 3)
            else:
                B[i, j] = A[i, i - j - 1]
    return B
# ---
def rebinding(x: f64[8]):
    s = 0.0
    y = np.zeros_like(x)
    for i in range(8):
        if i >= 4:
            w = x[i] * 2
            s = s + w
        else:
            w = x[i]
        y[i] = w
        last = w + s
    return y, s, last
# ---
def decided(x: f64[8]):
    for i in range(1, 7):
        if i > 0:
            x[i] += 1
        if i >= 7 or i < 0:
            x[i] = missing
        assert i < 8
        x[i] = x[i] if i <= 6 else missing
    return x
