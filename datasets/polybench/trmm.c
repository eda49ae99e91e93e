#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[M][N]), 0};
const size_t temporary_bytes[] = {0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    const double alpha = *(double *)inputs[0];
    double (*A)[M] = inputs[1], (*B)[N] = inputs[2];
    double (*C)[N] = outputs[0];
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            C[i][j] = B[i][j];
            for (int k = i + 1; k < M; k++)
                C[i][j] += A[k][i] * B[k][j];
            C[i][j] = alpha * C[i][j];
        }
}
