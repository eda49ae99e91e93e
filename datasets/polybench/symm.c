#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[M][N]), 0};
const size_t temporary_bytes[] = {0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    const double alpha = *(double *)inputs[0], beta = *(double *)inputs[1];
    double (*A)[M] = inputs[2], (*B)[N] = inputs[3], (*C)[N] = inputs[4];
    double (*D)[N] = outputs[0];
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0.0;
            for (int k = 0; k < i; k++) {
                D[k][j] += alpha * B[i][j] * A[i][k];
                sum += B[k][j] * A[i][k];
            }
            D[i][j] = beta * C[i][j] + alpha * B[i][j] * A[i][i] + alpha * sum;
        }
}
