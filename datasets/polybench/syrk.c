#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[N][N]), 0};
const size_t temporary_bytes[] = {0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    const double alpha = *(double *)inputs[0], beta = *(double *)inputs[1];
    double (*A)[M] = inputs[2], (*C)[N] = inputs[3];
    double (*D)[N] = outputs[0];
    for (int i = 0; i < N; i++) {
        for (int j = 0; j <= i; j++)
            D[i][j] = beta * C[i][j];
        for (int j = i + 1; j < N; j++)
            D[i][j] = C[i][j];
        for (int k = 0; k < M; k++)
            for (int j = 0; j <= i; j++)
                D[i][j] += alpha * A[i][k] * A[j][k];
    }
}
