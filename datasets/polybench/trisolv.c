#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[N]), 0};
const size_t temporary_bytes[] = {0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*L)[N] = inputs[0], *b = inputs[1];
    double *x = outputs[0];
    for (int i = 0; i < N; i++) {
        x[i] = b[i];
        for (int j = 0; j < i; j++)
            x[i] -= L[i][j] * x[j];
        x[i] = x[i] / L[i][i];
    }
}
