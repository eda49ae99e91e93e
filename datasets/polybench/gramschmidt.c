#include "polybench.h"
#include <math.h>
#include <string.h>

const size_t output_bytes[] = {sizeof(double[M][N]), sizeof(double[N][N]), 0};
const size_t temporary_bytes[] = {sizeof(double[M][N]), 0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*Q)[N] = outputs[0], (*R)[N] = outputs[1];
    double (*A)[N] = temporaries[0];
    memcpy(A, inputs[0], sizeof(double[M][N]));
    memset(R, 0, sizeof(double[N][N]));
    for (int k = 0; k < N; k++) {
        double nrm = 0.0;
        for (int i = 0; i < M; i++)
            nrm += A[i][k] * A[i][k];
        R[k][k] = sqrt(nrm);
        for (int i = 0; i < M; i++)
            Q[i][k] = A[i][k] / R[k][k];
        for (int j = k + 1; j < N; j++) {
            R[k][j] = 0.0;
            for (int i = 0; i < M; i++)
                R[k][j] += Q[i][k] * A[i][j];
            for (int i = 0; i < M; i++)
                A[i][j] = A[i][j] - Q[i][k] * R[k][j];
        }
    }
}
