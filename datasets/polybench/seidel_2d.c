#include "polybench.h"
#include <string.h>

const size_t output_bytes[] = {sizeof(double[N][N]), 0};
const size_t temporary_bytes[] = {0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*A)[N] = outputs[0];
    memcpy(A, inputs[0], sizeof(double[N][N]));
    for (int t = 0; t < TSTEPS; t++)
        for (int i = 1; i < N - 1; i++)
            for (int j = 1; j < N - 1; j++)
                A[i][j] = (A[i - 1][j - 1] + A[i - 1][j] + A[i - 1][j + 1] + A[i][j - 1] + A[i][j] + A[i][j + 1]
                           + A[i + 1][j - 1] + A[i + 1][j] + A[i + 1][j + 1]) / 9.0;
}
