#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[N]), sizeof(double[N]), 0};
const size_t temporary_bytes[] = {0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*A)[N] = inputs[0], *x1 = inputs[1], *x2 = inputs[2], *y1 = inputs[3], *y2 = inputs[4];
    double *z1 = outputs[0], *z2 = outputs[1];
    for (int i = 0; i < N; i++) {
        z1[i] = x1[i];
        for (int j = 0; j < N; j++)
            z1[i] = z1[i] + A[i][j] * y1[j];
    }
    for (int i = 0; i < N; i++) {
        z2[i] = x2[i];
        for (int j = 0; j < N; j++)
            z2[i] = z2[i] + A[j][i] * y2[j];
    }
}
