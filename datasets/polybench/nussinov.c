#include "polybench.h"
#include <string.h>

#define MAX(a, b) ((a) >= (b) ? (a) : (b))

const size_t output_bytes[] = {sizeof(int[N][N]), 0};
const size_t temporary_bytes[] = {0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    int *bases = inputs[0];
    int (*T)[N] = outputs[0];
    memset(T, 0, sizeof(int[N][N]));
    for (int i = N - 1; i >= 0; i--)
        for (int j = i + 1; j < N; j++) {
            if (j - 1 >= 0)
                T[i][j] = MAX(T[i][j], T[i][j - 1]);
            if (i + 1 < N)
                T[i][j] = MAX(T[i][j], T[i + 1][j]);
            if (j - 1 >= 0 && i + 1 < N) {
                if (i < j - 1)
                    T[i][j] = MAX(T[i][j], T[i + 1][j - 1] + (bases[i] + bases[j] == 3 ? 1 : 0));
                else
                    T[i][j] = MAX(T[i][j], T[i + 1][j - 1]);
            }
            for (int k = i + 1; k < j; k++)
                T[i][j] = MAX(T[i][j], T[i][k] + T[k + 1][j]);
        }
}
