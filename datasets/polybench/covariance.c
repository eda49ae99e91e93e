#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[M][M]), 0};
const size_t temporary_bytes[] = {sizeof(double[M]), sizeof(double[N][M]), 0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*D)[M] = inputs[0];
    double (*cov)[M] = outputs[0];
    double *mean = temporaries[0], (*X)[M] = temporaries[1];
    for (int j = 0; j < M; j++) {
        mean[j] = 0.0;
        for (int i = 0; i < N; i++)
            mean[j] += D[i][j];
        mean[j] /= (double)N;
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < M; j++)
            X[i][j] = D[i][j] - mean[j];
    for (int i = 0; i < M; i++)
        for (int j = i; j < M; j++) {
            cov[i][j] = 0.0;
            for (int k = 0; k < N; k++)
                cov[i][j] += X[k][i] * X[k][j];
            cov[i][j] /= (double)N - 1.0;
            cov[j][i] = cov[i][j];
        }
}
