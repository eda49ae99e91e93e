#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[N]), 0};
const size_t temporary_bytes[] = {sizeof(double[M]), 0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*A)[N] = inputs[0], *x = inputs[1];
    double *y = outputs[0];
    double *tmp = temporaries[0];
    for (int i = 0; i < N; i++)
        y[i] = 0.0;
    for (int i = 0; i < M; i++) {
        tmp[i] = 0.0;
        for (int j = 0; j < N; j++)
            tmp[i] = tmp[i] + A[i][j] * x[j];
        for (int j = 0; j < N; j++)
            y[j] = y[j] + A[i][j] * tmp[i];
    }
}
