#include "polybench.h"

const size_t output_bytes[] = {sizeof(double[M]), sizeof(double[N]), 0};
const size_t temporary_bytes[] = {0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*A)[M] = inputs[0], *p = inputs[1], *r = inputs[2];
    double *s = outputs[0], *q = outputs[1];
    for (int i = 0; i < M; i++)
        s[i] = 0.0;
    for (int i = 0; i < N; i++) {
        q[i] = 0.0;
        for (int j = 0; j < M; j++) {
            s[j] = s[j] + r[i] * A[i][j];
            q[i] = q[i] + A[i][j] * p[j];
        }
    }
}
