#include "polybench.h"
#include <string.h>

const size_t output_bytes[] = {sizeof(double[N][N]), 0};
const size_t temporary_bytes[] = {sizeof(double[N][N]), sizeof(double[N][N]), sizeof(double[N][N]), 0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*u)[N] = outputs[0];
    double (*v)[N] = temporaries[0], (*p)[N] = temporaries[1], (*q)[N] = temporaries[2];
    memcpy(u, inputs[0], sizeof(double[N][N]));
    const double DX = 1.0 / (double)N, DY = 1.0 / (double)N, DT = 1.0 / (double)TSTEPS, B1 = 2.0, B2 = 1.0;
    const double mul1 = B1 * DT / (DX * DX), mul2 = B2 * DT / (DY * DY);
    const double a = -mul1 / 2.0, b = 1.0 + mul1, c = a, d = -mul2 / 2.0, e = 1.0 + mul2, f = d;
    for (int t = 1; t <= TSTEPS; t++) {
        for (int i = 1; i < N - 1; i++) {
            v[0][i] = 1.0;
            p[i][0] = 0.0;
            q[i][0] = v[0][i];
            for (int j = 1; j < N - 1; j++) {
                p[i][j] = -c / (a * p[i][j - 1] + b);
                q[i][j] = (-d * u[j][i - 1] + (1.0 + 2.0 * d) * u[j][i] - f * u[j][i + 1] - a * q[i][j - 1])
                        / (a * p[i][j - 1] + b);
            }
            v[N - 1][i] = 1.0;
            for (int j = N - 2; j >= 1; j--)
                v[j][i] = p[i][j] * v[j + 1][i] + q[i][j];
        }
        for (int i = 1; i < N - 1; i++) {
            u[i][0] = 1.0;
            p[i][0] = 0.0;
            q[i][0] = u[i][0];
            for (int j = 1; j < N - 1; j++) {
                p[i][j] = -f / (d * p[i][j - 1] + e);
                q[i][j] = (-a * v[i - 1][j] + (1.0 + 2.0 * a) * v[i][j] - c * v[i + 1][j] - d * q[i][j - 1])
                        / (d * p[i][j - 1] + e);
            }
            u[i][N - 1] = 1.0;
            for (int j = N - 2; j >= 1; j--)
                u[i][j] = p[i][j] * u[i][j + 1] + q[i][j];
        }
    }
}
