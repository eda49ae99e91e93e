#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[NR][NQ][NP]), 0};
const size_t temporary_bytes[] = {sizeof(double[NP]), 0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*A)[NQ][NP] = inputs[0], (*C4)[NP] = inputs[1];
    double (*B)[NQ][NP] = outputs[0];
    double *sum = temporaries[0];
    for (int r = 0; r < NR; r++)
        for (int q = 0; q < NQ; q++) {
            for (int p = 0; p < NP; p++) {
                sum[p] = 0.0;
                for (int s = 0; s < NP; s++)
                    sum[p] += A[r][q][s] * C4[s][p];
            }
            for (int p = 0; p < NP; p++)
                B[r][q][p] = sum[p];
        }
}
