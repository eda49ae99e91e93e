/* What every kernel of this folder defines: loops in the order of PolyBench/C 4.2, on the arguments and results of the
 * NumPy function of the same name in datasets/workloads/polybench. The extents are macros, named like the constants
 * there. The pointers are unqualified: finding out what may alias is up to the compiler. */
#include <stddef.h>

/* Bytes of each result, then 0. Its elements have the type of the arguments'. */
extern const size_t output_bytes[];

/* Bytes of each scratch array that the kernel needs, then 0. */
extern const size_t temporary_bytes[];

/* `inputs`: the arguments in order, each an array in row-major order or one scalar; they are only read.
 * `outputs`: the results in order; every element is written. `temporaries`: scratch, of any content.
 * No two arrays overlap. */
void kernel(void **inputs, void **outputs, void **temporaries);
