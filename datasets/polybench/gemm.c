#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[NI][NJ]), 0};
const size_t temporary_bytes[] = {0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    const double alpha = *(double *)inputs[0], beta = *(double *)inputs[1];
    double (*A)[NK] = inputs[2], (*B)[NJ] = inputs[3], (*C)[NJ] = inputs[4];
    double (*D)[NJ] = outputs[0];
    for (int i = 0; i < NI; i++) {
        for (int j = 0; j < NJ; j++)
            D[i][j] = beta * C[i][j];
        for (int k = 0; k < NK; k++)
            for (int j = 0; j < NJ; j++)
                D[i][j] += alpha * A[i][k] * B[k][j];
    }
}
