/* What every kernel of this folder defines: loops in the order of PolyBench/C 4.2, on the inputs and results of the NumPy
 * function of the same name in datasets/workloads/polybench. The extents are macros, as the NumPy file's constants name
 * them. Pointers are unqualified: what may alias is for the compiler to find out. */
#include <stddef.h>

/* Bytes of each scratch array that the kernel needs, then 0. */
extern const size_t temporary_bytes[];

/* `inputs`: the function's arguments in order, each an array in row-major order or one scalar; they are only read.
 * `outputs`: its results in order, every element of which is written. No two arrays overlap. */
void kernel(void **inputs, void **outputs, void **temporaries);
