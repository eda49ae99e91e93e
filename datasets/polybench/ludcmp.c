#include "polybench.h"
#include <string.h>

const size_t output_bytes[] = {sizeof(double[N]), 0};
const size_t temporary_bytes[] = {sizeof(double[N][N]), sizeof(double[N]), 0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double *b = inputs[1], *x = outputs[0];
    double (*A)[N] = temporaries[0], *y = temporaries[1];
    memcpy(A, inputs[0], sizeof(double[N][N]));
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < i; j++) {
            double w = A[i][j];
            for (int k = 0; k < j; k++)
                w -= A[i][k] * A[k][j];
            A[i][j] = w / A[j][j];
        }
        for (int j = i; j < N; j++) {
            double w = A[i][j];
            for (int k = 0; k < i; k++)
                w -= A[i][k] * A[k][j];
            A[i][j] = w;
        }
    }
    for (int i = 0; i < N; i++) {
        double w = b[i];
        for (int j = 0; j < i; j++)
            w -= A[i][j] * y[j];
        y[i] = w;
    }
    for (int i = N - 1; i >= 0; i--) {
        double w = y[i];
        for (int j = i + 1; j < N; j++)
            w -= A[i][j] * x[j];
        x[i] = w / A[i][i];
    }
}
