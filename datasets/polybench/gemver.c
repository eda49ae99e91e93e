#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[N][N]), sizeof(double[N]), sizeof(double[N]), 0};
const size_t temporary_bytes[] = {0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    const double alpha = *(double *)inputs[0], beta = *(double *)inputs[1];
    double (*A)[N] = inputs[2], *u1 = inputs[3], *v1 = inputs[4], *u2 = inputs[5], *v2 = inputs[6];
    double *y = inputs[7], *z = inputs[8];
    double (*B)[N] = outputs[0], *x = outputs[1], *w = outputs[2];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            B[i][j] = A[i][j] + u1[i] * v1[j] + u2[i] * v2[j];
    // In a loop of its own: zeroed elsewhere, x comes out wrong from Polly of LLVM 22 under -ffast-math.
    for (int i = 0; i < N; i++)
        x[i] = 0.0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            x[i] = x[i] + beta * B[j][i] * y[j];
    for (int i = 0; i < N; i++)
        x[i] = x[i] + z[i];
    for (int i = 0; i < N; i++) {
        w[i] = 0.0;
        for (int j = 0; j < N; j++)
            w[i] = w[i] + alpha * B[i][j] * x[j];
    }
}
