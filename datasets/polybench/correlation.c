#include "polybench.h"
#include <math.h>

const size_t output_bytes[] = {sizeof(double[M][M]), 0};
const size_t temporary_bytes[] = {sizeof(double[M]), sizeof(double[M]), sizeof(double[N][M]), 0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*D)[M] = inputs[0];
    double (*corr)[M] = outputs[0];
    double *mean = temporaries[0], *deviation = temporaries[1], (*X)[M] = temporaries[2];
    for (int j = 0; j < M; j++) {
        mean[j] = 0.0;
        for (int i = 0; i < N; i++)
            mean[j] += D[i][j];
        mean[j] /= (double)N;
    }
    for (int j = 0; j < M; j++) {
        deviation[j] = 0.0;
        for (int i = 0; i < N; i++)
            deviation[j] += (D[i][j] - mean[j]) * (D[i][j] - mean[j]);
        deviation[j] = sqrt(deviation[j] / (double)N);
        deviation[j] = deviation[j] <= 0.1 ? 1.0 : deviation[j];
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < M; j++)
            X[i][j] = (D[i][j] - mean[j]) / (sqrt((double)N) * deviation[j]);
    for (int i = 0; i < M; i++)
        for (int j = i; j < M; j++) {
            corr[i][j] = 0.0;
            for (int k = 0; k < N; k++)
                corr[i][j] += X[k][i] * X[k][j];
            corr[j][i] = corr[i][j];
        }
}
