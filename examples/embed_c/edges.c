/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fastconv in a C program without Python: finds the vertical edges of a small image.
 *
 * One learns: how a problem is described (fc_conv2d), how an array is (fc_array: a pointer, a type and the distance
 * between neighbours along each axis), and that every call returns a status.
 */
#include <stdio.h>

#include "fastconv.h"

enum { HEIGHT = 6, WIDTH = 8 };

int main(void) {
    float image[HEIGHT][WIDTH] = {{0}}, result[HEIGHT][WIDTH];
    for (int row = 1; row < 5; row++)
        for (int column = 3; column < 6; column++) image[row][column] = 1; /* a bright square on dark ground */
    float filter[3][3] = {{-1, 0, 1}, {-1, 0, 1}, {-1, 0, 1}}; /* answers where it gets brighter to the right */

    fc_conv2d problem = {.n = 1, .h = HEIGHT, .w = WIDTH, .c = 1, .k = 1, .r = 3, .s = 3};
    problem.stride_h = problem.stride_w = problem.dilation_h = problem.dilation_w = problem.groups = 1;
    fc_status status = fc_conv2d_resolve(&problem, FC_PAD_SAME); /* checks it, fills in padding and output size */
    if (status == FC_OK) {
        /* strides count elements: of images, rows, columns, channels; of the filter: rows, columns, channels, filters */
        fc_array x = {.data = image, .dtype = FC_FLOAT32, .stride = {HEIGHT * WIDTH, WIDTH, 1, 1}};
        fc_array weight = {.data = filter, .dtype = FC_FLOAT32, .stride = {3, 1, 1, 1}};
        fc_array y = {.data = result, .dtype = FC_FLOAT32, .stride = {HEIGHT * WIDTH, WIDTH, 1, 1}};
        fc_options options = {.activation = FC_RELU};
        status = fc_conv2d_forward(&problem, &x, &weight, NULL, &y, &options);
    }
    if (status != FC_OK) {
        fprintf(stderr, "fastconv: %s\n", fc_status_text(status));
        return 1;
    }
    printf("%s kernels, %d x %d results\n", fc_isa_name(fc_get_isa()), (int)problem.p, (int)problem.q);
    for (int row = 0; row < HEIGHT; row++) {
        for (int column = 0; column < WIDTH; column++) printf(" %g", result[row][column]);
        printf("\n");
    }
    return 0;
}
