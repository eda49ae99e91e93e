#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[NI][NL]), 0};
const size_t temporary_bytes[] = {sizeof(double[NI][NJ]), 0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    const double alpha = *(double *)inputs[0], beta = *(double *)inputs[1];
    double (*A)[NK] = inputs[2], (*B)[NJ] = inputs[3], (*C)[NL] = inputs[4], (*D)[NL] = inputs[5];
    double (*E)[NL] = outputs[0];
    double (*tmp)[NJ] = temporaries[0];
    for (int i = 0; i < NI; i++)
        for (int j = 0; j < NJ; j++) {
            tmp[i][j] = 0.0;
            for (int k = 0; k < NK; k++)
                tmp[i][j] += alpha * A[i][k] * B[k][j];
        }
    for (int i = 0; i < NI; i++)
        for (int j = 0; j < NL; j++) {
            E[i][j] = beta * D[i][j];
            for (int k = 0; k < NJ; k++)
                E[i][j] += tmp[i][k] * C[k][j];
        }
}
