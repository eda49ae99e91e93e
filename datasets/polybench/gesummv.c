#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[N]), 0};
const size_t temporary_bytes[] = {sizeof(double[N]), 0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    const double alpha = *(double *)inputs[0], beta = *(double *)inputs[1];
    double (*A)[N] = inputs[2], (*B)[N] = inputs[3], *x = inputs[4];
    double *y = outputs[0];
    double *tmp = temporaries[0];
    for (int i = 0; i < N; i++) {
        tmp[i] = 0.0;
        y[i] = 0.0;
        for (int j = 0; j < N; j++) {
            tmp[i] = A[i][j] * x[j] + tmp[i];
            y[i] = B[i][j] * x[j] + y[i];
        }
        y[i] = alpha * tmp[i] + beta * y[i];
    }
}
