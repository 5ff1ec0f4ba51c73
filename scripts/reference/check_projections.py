"""Holds principal components and t-SNE to scikit-learn.

    .venv/test/bin/python scripts/reference/check_projections.py cases.json

Of each case {name, rows, width, values, points, shares, method}: points of "pca" must be scikit-learn's to 1e-4 up to the sign of an
axis, those of "t-sne" as trustworthy as scikit-learn's to 0.02. tests/it/projections.rs writes the cases.
"""

import json
import sys
import warnings

import numpy
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness

warnings.filterwarnings("ignore")  # scikit-learn divides by the variance of what is constant.


def pca(values, points, shares):
    count = min(2, *values.shape)
    fitted = PCA(n_components=count, svd_solver="full").fit(values)
    wanted, ratios = numpy.zeros((len(values), 2)), numpy.zeros(2)
    wanted[:, :count] = fitted.transform(values)
    ratios[:count] = numpy.nan_to_num(fitted.explained_variance_ratio_)
    for axis in range(2):
        sign = numpy.sign(wanted[:, axis] @ points[:, axis]) or 1
        assert abs(sign * points[:, axis] - wanted[:, axis]).max() < 1e-4, f"axis {axis}"
        assert abs(shares[axis] - ratios[axis]) < 1e-6, f"shares {shares}, expected {ratios}"
    return f"shares {ratios.round(3).tolist()}"


def tsne(values, points, shares):
    theirs = TSNE(n_components=2, perplexity=30, init="pca", random_state=1).fit_transform(values)
    ours, theirs = (trustworthiness(values, layout, n_neighbors=10) for layout in (points, theirs))
    assert ours > theirs - 0.02, f"trustworthiness {ours:.4f}, of scikit-learn {theirs:.4f}"
    return f"trustworthiness {ours:.4f}, of scikit-learn {theirs:.4f}"


for case in json.load(open(sys.argv[1])):
    values = numpy.array(case["values"], dtype=numpy.float32).reshape(case["rows"], case["width"]).astype(float)
    points = numpy.array(case["points"]).reshape(-1, 2)
    print(case["name"], {"pca": pca, "t-sne": tsne}[case["method"]](values, points, case["shares"]))
