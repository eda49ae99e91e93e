#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[NI][NL]), 0};
const size_t temporary_bytes[] = {sizeof(double[NI][NJ]), sizeof(double[NJ][NL]), 0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*A)[NK] = inputs[0], (*B)[NJ] = inputs[1], (*C)[NM] = inputs[2], (*D)[NL] = inputs[3];
    double (*G)[NL] = outputs[0];
    double (*E)[NJ] = temporaries[0], (*F)[NL] = temporaries[1];
    for (int i = 0; i < NI; i++)
        for (int j = 0; j < NJ; j++) {
            E[i][j] = 0.0;
            for (int k = 0; k < NK; k++)
                E[i][j] += A[i][k] * B[k][j];
        }
    for (int i = 0; i < NJ; i++)
        for (int j = 0; j < NL; j++) {
            F[i][j] = 0.0;
            for (int k = 0; k < NM; k++)
                F[i][j] += C[i][k] * D[k][j];
        }
    for (int i = 0; i < NI; i++)
        for (int j = 0; j < NL; j++) {
            G[i][j] = 0.0;
            for (int k = 0; k < NJ; k++)
                G[i][j] += E[i][k] * F[k][j];
        }
}
