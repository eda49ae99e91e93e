#include "polybench.h"
#include <string.h>

const size_t output_bytes[] = {sizeof(double[N]), 0};
const size_t temporary_bytes[] = {sizeof(double[N]), 0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double *A = outputs[0], *B = temporaries[0];
    memcpy(A, inputs[0], sizeof(double[N]));
    memcpy(B, inputs[1], sizeof(double[N]));
    for (int t = 0; t < TSTEPS; t++) {
        for (int i = 1; i < N - 1; i++)
            B[i] = 0.33333 * (A[i - 1] + A[i] + A[i + 1]);
        for (int i = 1; i < N - 1; i++)
            A[i] = 0.33333 * (B[i - 1] + B[i] + B[i + 1]);
    }
}
