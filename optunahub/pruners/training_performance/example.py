"""Tunes a classifier trained by stochastic gradient descent, and stops the trials that will lose."""

from __future__ import annotations

import optuna
import optunahub
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

EPOCHS = 40
x_train, x_valid, y_train, y_valid = train_test_split(*load_digits(return_X_y=True), random_state=0)


def objective(trial: optuna.Trial) -> float:
    """Validation loss after the last epoch."""
    rate = trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
    penalty = trial.suggest_float("alpha", 1e-6, 1e-1, log=True)
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=rate, alpha=penalty, random_state=0)
    loss = float("nan")
    for epoch in range(1, EPOCHS + 1):
        model.partial_fit(x_train / 16, y_train, classes=range(10))
        loss = float(log_loss(y_valid, model.predict_proba(x_valid / 16)))
        trial.report(loss, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return loss


if __name__ == "__main__":
    package = optunahub.load_module("pruners/training_performance")
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=0), pruner=package.TrainingPerformancePruner(budget=EPOCHS)
    )
    study.optimize(objective, n_trials=40)
    stopped = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    print(f"best loss {study.best_value:.4f}, {len(stopped)} of {len(study.trials)} trials were stopped")
    print(package.Decision.of(stopped[0]))
