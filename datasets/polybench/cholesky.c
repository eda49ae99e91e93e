#include "polybench.h"
#include <math.h>

const size_t output_bytes[] = {sizeof(double[N][N]), 0};
const size_t temporary_bytes[] = {0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*A)[N] = inputs[0];
    double (*L)[N] = outputs[0];
    for (int i = 0; i < N; i++) {
        for (int j = 0; j <= i; j++)
            L[i][j] = A[i][j];
        for (int j = i + 1; j < N; j++)
            L[i][j] = 0.0;
    }
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < i; j++) {
            for (int k = 0; k < j; k++)
                L[i][j] -= L[i][k] * L[j][k];
            L[i][j] /= L[j][j];
        }
        for (int k = 0; k < i; k++)
            L[i][i] -= L[i][k] * L[i][k];
        L[i][i] = sqrt(L[i][i]);
    }
}
