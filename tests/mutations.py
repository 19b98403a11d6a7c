"""Does the suite notice? Changes the code, a line at a time, and expects a test to fail: ``make test-mutations``.

Each row is a file, what stands there, what is put in its place, and the tests that must fail. A row whose text is not
found once is a mistake, too: the code has moved on.
"""
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIRING, ITERS, TRAINING, FILES = (f"tests/test_{name}.py" for name in ("wiring", "iters", "training", "run_files"))
STAGES, TRANSFORM, SHUFFLED = "training/stages.py", "iters/random_transform.py", "iters/shuffled.py"
DOMAINS = "training/domains.py"
LOOP, RUN, REPRODUCE = "training/loop.py", "training/run.py", "tests/test_reproduce.py"
CLASSIFIER, LABELLED = "training/classifier.py", "training/labelled_features.py"
GROUPS_FILE, GROUPS = "symbols/layer_groups.py", "tests/test_layer_groups.py"
HEAP = "tests/test_mmd.py::test_wrong_batches_are_refused_and_leave_the_heap_whole"

MUTATIONS = [
    # What a run is told, and where it goes.
    (STAGES, 'transfer_loss(told.transfer, **options)', 'transfer_loss("jmmd", **options)', WIRING),
    (STAGES, "weight, batch = transfer_loss(told.transfer, **options), told.transfer_weight,",
     "weight, batch = transfer_loss(told.transfer, **options), None,", WIRING),
    (STAGES, "/ num_devices / _USUAL_IMAGES", "/ _USUAL_IMAGES", "tests/test_objective.py"),
    ("training/settings.py", 'then = {"transfer_weighs": then["transfer_weight"], **then}', "pass",
     "tests/test_resume.py"),
    (STAGES, "told.relative_transfer_weight, batch, num_devices)", "told.relative_transfer_weight, batch)",
     "tests/test_objective.py"),
    (STAGES, "not usual / _FAR[0] <= relative <= usual * _FAR[1]", "relative < usual / _FAR[0]",
     "tests/test_objective.py"),
    (STAGES, "usual and not asked and", "usual and", "tests/test_objective.py"),
    ("symbols/objective.py", "return 2 * weight * num_devices / batch_size", "return 2 * weight / batch_size",
     "tests/test_objective.py"),
    (STAGES, 'options.setdefault("estimate", told.estimate)', 'options.setdefault("estimate", "linear")', WIRING),
    (STAGES, "options = dict(told.transfer_options)", "options = {}", WIRING),
    (STAGES, "StepSchedule(rate, optimizer.lr_factor, steps)", "StepSchedule(rate, 0.1, steps)", WIRING),
    (STAGES, "stop=stop, seed=run.seed,", "stop=stop,", WIRING),
    (DOMAINS, "stage.augmentation, data.threads, stage.run.seed\n", "stage.augmentation, data.threads, 0\n", WIRING),
    (STAGES, "    mx.random.seed(run.seed)\n", "", WIRING),
    (STAGES, "overwrite=run.overwrite, keep=run.keep,", "overwrite=run.overwrite,", WIRING),
    ("training/start.py", "return (*further, layer)", "return (layer,)", WIRING),
    (STAGES, "before_forward=[*stage.before_forward, ", "before_forward=[", WIRING),
    (STAGES, "*stage.after_epoch, ", "", WIRING),
    (STAGES, "                if name in without_effect:\n", "                if False:\n", "tests/test_options.py"),
    *[("cli/options.py", "if field.name in values})", f"if field.name in values and field.name != '{name}'}})", WIRING)
      for name in ("pad_size", "jitter", "pca_noise", "random_crop", "random_mirror", "max_random_h", "max_random_s",
                   "max_random_l", "max_random_aspect_ratio", "max_random_rotate_angle", "max_random_shear_ratio",
                   "max_random_scale", "min_random_scale")],
    # The seams of the loop, and what is kept of them.
    *[(file, *change, "tests/test_seams.py") for file, *change in (
        ("training/learner.py", "loss + size * _number(", "loss + _number("),
        ("training/learner.py", "parameter.lr_mult = grad_req, wd_mult, lr_mult", "_ = grad_req, wd_mult, lr_mult"),
        ("training/optimizers.py", "copy.deepcopy(optimizer)", "optimizer"),
        ("training/state.py", "                self._put(value, there, name)\n", "                pass\n"),
        (LOOP, "position.ended = epoch.ends", "pass"),
        (LOOP, "*after_epoch,\n             *([Say", "*([Say"),
        (RUN, "and not _begins_with(text, known, self._summary_file)", "and not text.startswith(known)"),
        (LOOP, "sums = Sums(others=dict.fromkeys(sums.others, 0.0))", "sums = Sums()"),
        (LOOP, "laid_out_for != num_devices", "False"), (LOOP, "copy.deepcopy(schedule)", "schedule"),
        ("training/state.py", "or _differs(name, parameter):", "or False:"),
        ("training/learner.py", 'parameter.grad_req = "write" ', 'pass '))],
    ("training/settings.py", '"mmd" if then["use_dan"] else "jmmd"', '"jmmd"', "tests/test_docstrings.py"),
    *[(TRANSFORM, *change, "tests/test_transforms.py") for change in (
        ("2 * given.pad_size", "0"), ("rng.uniform(-jitter, jitter)", "0"), ("rng.gauss(0, noise)", "0"),
        ("if not given.random_crop:\n            return centre_box", "if False:\n            return centre_box"),
        ("self._given.random_mirror and", "True and"),
        ("* given.max_random_rotate_angle)", "* 0)"), ("* given.max_random_shear_ratio\n", "* 0\n"),
        ("rng.uniform(given.min_random_scale, given.max_random_scale)", "1.0"))],
    # What is read, and in which order.
    (SHUFFLED, "seed, zlib.crc32(images.path.name.encode())", "seed, 0", f"{ITERS}::test_domains_of_equal_size_are_not_"
     "read_in_the_same_order"),
    (SHUFFLED, "(*self._seed, epoch), self._source", "self._seed, self._source",
     f"{ITERS}::test_an_image_is_changed_otherwise_in_every_epoch"),
    (SHUFFLED, "places = places % len(self.images)", "places = (places + 1) % len(self.images)",
     f"{ITERS}::test_odd_images_look_as_a_person_sees_them_through_every_reader"),
    ("iters/epochs.py", "min(self.batch + count, self.batches_per_epoch)", "min(count, self.batches_per_epoch)",
     f"{ITERS}::test_batches_are_skipped_from_where_reading_is"),
    ("iters/dual.py", "(2 * i + k) * n:(2 * i + k + 1) * n",
     "(self.num_devices * k + i) * n:(self.num_devices * k + i + 1) * n",
     f"{ITERS}::test_a_dual_batch_is_laid_out_device_by_device"),
    ("iters/image_list.py", "zip(self.indices.tolist(), self.labels.tolist(), self.files)",
     "zip(self.indices.tolist(), self.files)", f"{ITERS}::test_the_digest_of_a_list_is_that_of_all_it_says"),
    ("iters/ordered.py", "pixels = pixels[[place - places.start for place in index]]", "pixels = pixels[:len(index)]",
     "tests/test_predict.py::test_unreadable_images_are_named_and_cost_no_other_prediction"),
    ("iters/transforms.py", "Box((width - box_width) // 2,", "Box((width - box_width + 1) // 2,",
     f"{ITERS}::test_validation_images_are_those_of_mxnets_reader"),
    (TRANSFORM, "given.min_random_area, given.aspects, rng)", "0.08, given.aspects, rng)",
     "tests/test_transforms.py::test_boxes_have_the_area_and_the_aspect_that_were_asked_for"),
    ("records/make_list.py", "kept = rng.permutation(group)[:wanted]", "kept = group[:wanted]",
     "tests/test_records.py::test_lists_are_masked_and_described_by_their_seed_and_null_label"),
    ("tools/im2rec_helpers.py", "fraction, per_class, seed)):", "fraction, per_class)):",
     "tests/test_records.py::test_flags_of_the_tool_reach_what_they_name"),
    ("records/ready.py", " and one.files == other.files", "",
     f"{ITERS}::test_lists_of_the_same_images_share_a_record"),
    ("records/packing.py", "            record.unlink(missing_ok=True)", "            pass",
     "tests/test_records.py::test_an_old_record_never_stands_beside_a_new_index"),
    ("records/check.py", "and label != null_label:\n            raise", "and label != NULL_LABEL:\n            raise",
     "tests/test_records.py::test_the_null_label_is_what_it_is_said_to_be"),
    # What is computed and told of it.
    ("symbols/objective.py", "(F.argmax(logits, axis=-1) == classes) * labelled)",
     "F.argmax(logits, axis=-1) == classes)",
     "tests/test_mmd.py::test_images_without_label_are_not_counted_as_correct_even_where_the_null_label_is_a_class"),
    ("symbols/objective.py", "F.max(labels, axis=-1) > 0", "F.max(labels, axis=-1) > -1", "tests/test_objective.py"),
    ("symbols/objective.py", "            self._check([", "            sum([", "tests/test_objective.py"),
    ("symbols/objective.py", "F.elemwise_mul(labels, log_p, name=_PROBABILITIES)", "F.broadcast_mul(labels, log_p)",
     HEAP),
    ("symbols/loss.py", "            for other in checked[:1] or as_many:\n", "            if False:\n", HEAP),
    ("symbols/loss.py", "F.transpose(F.reshape(rows, shape=(-3, -2)), axes=(0, 1), name=f\"{name}{place}_matrix\")",
     "F.reshape(rows, shape=(-3, -2))", HEAP),
    ("symbols/loss.py", "shape=(-4, -1, self.batch_multiple, -2)", "shape=(-4, -1, 1, -2)", HEAP),
    ("symbols/mmd.py", "values * others", "values", "tests/test_mmd.py"),
    ("symbols/mmd.py", "        x = F.broadcast_sub(x, F.mean(x, axis=0, keepdims=True))\n", "",
     "tests/test_mmd.py::test_the_quadratic_estimate_keeps_its_digits_far_from_the_origin_and_is_finite_for_equal_rows"),
    ("symbols/mmd.py", "sum(self._values(F, layers))", "self._values(F, layers)[0]", "tests/test_mmd.py"),
    ("symbols/mmd.py", "reduce(F.elemwise_mul, ", "reduce(F.elemwise_add, ", "tests/test_mmd.py"),
    ("symbols/coral.py", "F.broadcast_sub(half, F.mean(half, axis=0, keepdims=True))", "half",
     "tests/test_coral.py"),
    ("symbols/dann.py", "scalar=-reversal", "scalar=reversal", "tests/test_dann.py"),
    ("symbols/dann.py", "F.minimum(wrong, -wrong)", "-F.abs(wrong)",
     "tests/test_dann.py::test_a_classifier_that_knows_nothing_learns"),
    ("symbols/dann.py", "F.concat(*layers, dim=1)", "layers[-1]", "tests/test_dann.py"),
    ("symbols/zoo.py", "normalized(features, mean, std)", "normalized(features, mean)",
     "tests/test_networks.py::test_features_and_classifier_of_the_zoo_get_the_same_normalised_images"),
    (LOOP, "schedule(max(position.updates, 1))", "schedule(position.updates + 1)",
     f"{TRAINING}::test_an_epoch_is_told_by_its_own_images_and_its_last_update"),
    (LOOP, "sums = sums.next_epoch()", "pass",
     f"{TRAINING}::test_an_epoch_is_told_by_its_own_images_and_its_last_update"),
    (LOOP, "Validation(validation, top_k, null_label)", "Validation(validation, top_k, 9999)",
     f"{TRAINING}::test_a_fit_validates_labelled_images_and_their_best_classes"),
    (LOOP, "mx.random.seed(_seed(seed, number_of_epoch, number))", "mx.random.seed(_seed(seed, number))",
     f"{TRAINING}::test_dropout_is_drawn_anew_for_every_batch_of_every_epoch"),
    ("training/sums.py", "transfer /= len(statistics)", "pass",
     f"{TRAINING}::test_two_devices_with_the_same_images_twice_update_like_one"),
    ("inference/outputs.py", "batch.data[0].shape[0] - (batch.pad or 0)", "batch.data[0].shape[0]",
     f"{TRAINING}::test_images_that_fill_a_batch_up_are_not_judged"),
    ("base/devices.py", ', "running_mean", "running_var"', "",
     f"{TRAINING}::test_statistics_are_averaged_by_either_name"),
    ("inference/adabn.py", "self._squares / self.count", "self._squares / (self.count - 1)",
     "tests/test_adabn.py::test_running_moments_of_blocks_are_those_of_all_rows"),
    ("inference/adabn.py", "(classes_before == images.labels)[known]", "(classes_before == images.labels)",
     "tests/test_adabn.py::test_the_command_counts_labelled_images_before_and_after"),
    ("symbols/frozen.py", "1 / mx.sym.square(inverse_deviation) - norm.eps", "1 / mx.sym.square(inverse_deviation)",
     f"{TRAINING}::test_variances_of_frozen_layers_are_those_of_the_images_however_small"),
    # Fine-tuning: an average, rates and decay by parts, what is held out.
    *[(file, before, after, "tests/test_ema.py") for file, before, after in (
        ("training/ema.py", "(1 + number) / (10 + number)", "1"),
        ("training/ema.py", "1 - min(self._decay, ", "1 - max(0, "),
        ("training/ema.py", "average += share", "average -= share"),
        ("training/ema.py", "            average[:] = before\n", ""),
        ("training/run.py", "with epoch.learner.averaged():", "with contextlib.nullcontext():"),
        (LOOP, "            with learner.averaged():\n", "            with contextlib.nullcontext():\n"),
        (LOOP, "        learner.finish()\n", ""),
        (LOOP, "learner.updated(position.updates)", "learner.updated(number)"),
        ("training/state.py", "return name.endswith(MOVING)", "return False"))],
    *[(file, before, after, "tests/test_fine_tuning.py") for file, before, after in (
        ("training/learner.py", 'if wd_on == "weights" and parameter', "if parameter"),
        ("training/learner.py", "if begins(name, prefix)]", "]"),
        ("training/summary.py", "result.others.get(SOURCE_ACCURACY, result.validation_accuracy)",
         "result.validation_accuracy"),
        ("training/after_epoch.py", ">= self._patience", "> self._patience"),
        ("training/after_epoch.py", "[*epoch.before, epoch.result]", "epoch.before"),
        ("training/run.py", "if best is None or epoch != best.epoch:", "if True:"),
        (DOMAINS, "for part in (~held, held)]", "for part in (held | True, held)]"),
        (DOMAINS, ".permutation(first)", ".permutation(len(images))"),
        (STAGES, 'settings["l2sp_start"] = ', "_ = "),
        (STAGES, 'if optimizer.lr_schedule == "inv":\n        settings', "if False:\n        settings"),
        ("training/start.py", "if told.new_layers > 1:\n        start = _begun", "if False:\n        start = _begun"),
        ("training/start.py", "elif told.new_layers > 1:", "elif False:"),
        ("training/start.py", 'taken_over.update(HEAD)', "pass"))],
    ("distributed/stores.py", "spread over the devices.\n        mx.nd.waitall()", "spread over the devices.",
     "tests/test_fine_tuning.py::test_what_devices_begin_with_is_what_the_first_forward_pass_leaves"),
    ("training/param_groups.py", "rate / largest", "rate", WIRING),
    ("training/param_groups.py", "[told.l2sp])", "[2 * told.l2sp])", WIRING),
    ("training/conflicts.py", '(not optimizer.wd, "without `wd`", ["wd_on"]),', "", "tests/test_fine_tuning.py"),
    *[("training/param_groups.py", *change, "tests/test_param_groups.py") for change in (
        ("names[part] if name in learning}", "names[part]}"),
        ("for name, value in start.items() if name in pulled}", "for name, value in start.items()}"),
        ("thirds(_groups(net), told.num_lowlrs, stage.network.new_layers)", "thirds(_groups(net), told.num_lowlrs)"),
        ("thirds(groups, stage.optimizer.num_lowlrs, stage.network.new_layers)",
         "thirds(groups, stage.optimizer.num_lowlrs)"),
        ("max(told.lr) or 1.0", "max(told.lr)"))],
    ("training/learner.py", "parameter.lr_mult *= factor", "parameter.lr_mult = factor", "tests/test_param_groups.py"),
    ("training/learner.py", "for name, parameter in self.parameters.items() if name not in own},",
     "for name, parameter in self.parameters.items()},", "tests/test_ema.py"),
    (LOOP, "if not 0 <= ema < 1 or ema and store.asynchronous:", "if not 0 <= ema < 1:", "tests/test_ema.py"),
    (STAGES, "null_label=stage.data.null_label, name=SOURCE_ACCURACY", "name=SOURCE_ACCURACY", WIRING),
    (STAGES, "balanced_weights(labels, stage.num_classes, stage.data.null_label)",
     "balanced_weights(labels, stage.num_classes)", WIRING),
    (STAGES, "Mixup(told.mixup, domains=1 + stage.train_stage)", "Mixup(told.mixup)", WIRING),
    ("training/start.py", "num_features(cut(start.symbol, told.layer), image_shape)",
     "num_features(start.symbol, image_shape)", WIRING),
    (TRANSFORM, "given.first_side(max(height, width))", "given.first_side(height)", "tests/test_transforms.py"),
    *[("iters/rand_augment.py", *change, "tests/test_rand_augment.py") for change in (
        ("                    table = None\n                    if name", "                    if name"),
        ("FILL = 124, 116, 104", "FILL = 104, 116, 124"),
        ("rng.random() < 0.5 else value", "rng.random() < 0.4 else value"))],
    ("iters/erasing.py", "if h < height and w < width:", "if h <= height and w <= width:", "tests/test_erasing.py"),
    ("records/published.py", " or Path(image).name != image]", "]", "tests/test_published.py"),
    ("records/published.py", "if not 1 <= number <= len(classes)]", "if number > len(classes)]",
     "tests/test_published.py"),
    # Layers in groups, and what a prefix means.
    *[(GROUPS_FILE, *change, GROUPS) for change in (
        ("name.startswith(prefix) and not cuts_a_number", "name.startswith(prefix)"),
        ("if units[name] in own else current", "or current"),
        ("if below and places[parameters[0]] < places[groups[below][-1]]:", "if False:"),
        ("name in names if _kind(name) not in NORMALISATION)", "name in names)"),
        ("if 0 < place == len(parts) - 1 and", "if False and"),
        ("names = [name for name in names if name not in HEAD]", "names = list(names)"),
        ("most = len(groups) - new_layers + 1", "most = len(groups)"),
        ('re.compile(r"(unit)?\\d+")', 're.compile(r"\\d+")'),
        ("shared + bool(shared)) for", "0) for"))],
    ("symbols/frozen.py", "not any(begins(name, prefix)", "not any(name.startswith(prefix)",
     f"{TRAINING}::test_what_trains_must_be_named_by_prefixes_that_there_are"),
    ("tools/layers.py", "list_auxiliary_states(), 0)", "list_auxiliary_states(), 1)", GROUPS),
    ("tools/layers.py", "features = cut(start.symbol, layer)", 'features = cut(start.symbol, "flatten0")', GROUPS),
    (DOMAINS, "min(self.num_source - self.num_held, *self.sizes)", "self.num_source",
     f"{WIRING}::test_an_epoch_of_the_schedule_is_that_of_the_smaller_domain"),
    # What a run keeps and compares, and what is made of several.
    (RUN, "if epoch <= last][:-self.keep]", "][:-self.keep]",
     f"{FILES}::test_only_checkpoints_that_the_state_has_seen_are_counted_as_kept"),
    (RUN, "self._save_state(epoch.learner, epoch.trainer)\n            self._drop_old(self.position.epoch)\n",
     "self._drop_old(self.position.epoch)\n            self._save_state(epoch.learner, epoch.trainer)\n",
     f"{FILES}::test_only_checkpoints_that_the_state_has_seen_are_counted_as_kept"),
    (RUN, 'mode="a" if self.checkpoint else "w"', 'mode="w"',
     f"{FILES}::test_what_was_said_and_when_it_was_started_stays"),
    (RUN, "        self._compare(state.settings, defaults)\n", "",
     f"{FILES}::test_settings_are_those_of_the_state_where_their_file_is_lost"),
    (STAGES, '"test_io"}', '"test_io", "seed"}',
     f"{WIRING}::test_what_numbers_depend_on_is_compared_when_a_run_goes_on_and_among_workers"),
    (STAGES, "writes=store.rank == 0)", "writes=True)", f"{WIRING}::test_one_worker_writes_and_each_reads_its_part"),
    ("training/signals.py", "        self.__exit__()", "        pass",
     "tests/test_resume.py::test_the_first_signal_is_noted_and_the_second_acts"),
    ("training/versions.py", ' + "+" * bool(git("status", "--porcelain", "--untracked-files=no"))', "",
     "tests/test_flags.py::test_the_revision_is_that_of_the_project_and_no_other"),
    ("trials/trial.py", '[-1]["validation_accuracy"]', '[0]["validation_accuracy"]', REPRODUCE),
    ("trials/methods.py", '["--use-dan", *start]', "start", REPRODUCE),
    ("trials/tables.py", "row.get(SOURCE_ACCURACY, math.nan)", 'row["validation_accuracy"]',
     REPRODUCE),
    ("trials/domains.py", "itertools.permutations", "itertools.combinations", REPRODUCE),
    ("trials/domains.py", '("val.lst", domains[target])', '("val.lst", domains[source])', REPRODUCE),
    ("trials/methods.py", 'if method != "cnn" and method not in rows else', 'if method != "cnn" else', REPRODUCE),
    # The whole way in one command.
    *[(file, *change, f"tests/test_adapt.py::test_{test}") for test, file, *change in (
        ("what_another_command_left_gives_way_and_what_this_one_left_is_gone_on_with", "trials/trial.py", *change)
        for change in (("before == run.made_of", '(before or {}).get("begun", before) == run.made_of'),
                       ("if last and run.anew and last != run.made_of:", "if False:"),
                       ("if code != 0 and _written(run) == state:", "if False:"),
                       ('{"after": [one.made_of for one in self.after]} if self.after else {}', "{}")))],
    *[("trials/adaptation.py", *change, f"tests/test_adapt.py::test_{test}") for test, *change in (
        ("further_flags_win_and_the_rest_fits_them", "epochs = last_epoch([*advised, *further])",
         "epochs = advice.epochs[stage]"),
        ("further_flags_win_and_the_rest_fits_them", ', "--lr-step-epochs": str(drop_after(epochs))}', "}"),
        ("further_flags_win_and_the_rest_fits_them", "told.update(*(_INSTEAD.get(word, ()) for word in told))", "pass"),
        ("further_flags_win_and_the_rest_fits_them", "[*common, *further]", "[*further, *common]"),
        ("what_cannot_be_is_told_at_once", "        if flag in _DECIDED:\n", "        if False:\n"),
        ("every_flag_reaches_the_commands", ' if "estimate" in options_of(loss) else []', ""),
        ("every_flag_reaches_the_commands", "*models.get(run.method, model), *flags", "*model, *flags"),
        ("the_held_out_part_of_the_source_is_in_the_table", 'last.get(SOURCE_ACCURACY, "nan")',
         "last.get(SOURCE_ACCURACY, 0)"),
        ("weights_are_imported_first", '{"weights": file_digest(find_weights(weights))}', "{}"),
        ("lists_and_their_labels", ' if Path(images["target"]).is_dir() else "--lst"', ""))],
    *[("trials/advice.py", *change, "tests/test_adapt.py::test_rules_give_what_can_be_trained_with") for change in (
        ("min(_BATCH, trained, num_target) // unit * unit", "min(_BATCH, trained, num_target)"),
        ("sizes = trained, min(trained, num_target)", "sizes = trained, trained"),
        ("max(1, min(epochs - 1, round(0.75 * epochs)))", "round(0.75 * epochs)"))],
    ("cli/help.py", "Path(found).parent == Path(sys.executable).parent", "True",
     "tests/test_adapt.py::test_commands_are_printed_as_one_types_them"),
    ("adapt.py", "cd {shlex.quote(os.getcwd())}", "cd /",
     "tests/test_adapt.py::test_the_commands_file_runs_from_anywhere"),
    ("adapt.py", "epoch = there[-1] if epoch is None else epoch", "epoch = there[-1]",
     "tests/test_adapt.py::test_every_flag_reaches_the_commands"),
    ("adapt.py", 'int(lists["source"].labelled.sum())', 'len(lists["source"])',
     "tests/test_adapt.py::test_lists_and_their_labels"),
    ("base/files.py", "set(os.listdir(path)) <= set(replaces)", "(replaces or not os.listdir(path))",
     "tests/test_evaluate.py"),
    # What a run says.
    *[(file, *change, "tests/test_progress.py") for file, *change in (
        ("training/progress.py", "+ (epochs + 1) * self._between", "+ epochs * self._between"),
        ("training/progress.py", "(batches + epochs * batches_per_epoch)", "batches"),
        ("training/progress.py", "self._last = None if self._ended is None else time.monotonic()",
         "self._last = time.monotonic()"),
        ("training/progress.py", "        if len(longer) > width:\n", "        if False:\n"),
        ("training/progress.py", "disable=None if self._every else True", "disable=None"),
        (LOOP, "[Say(top_k, transfer)] if disp_batches else []", "[Say(top_k, transfer)]"),
        (LOOP, "[Say(top_k, transfer)] if disp_batches else []", "[Say(top_k)] if disp_batches else []"),
        ("training/sums.py", "following._first, following._before, following._told", "_, _, _"),
        ("training/sums.py", "self._before > _GROWN * max(self._first, 1)", "True"),
        ("training/sums.py", "            self._told = True\n", ""))],
    (STAGES, "disp_batches=0, **training", "**training", "tests/test_commands.py"),
    ("predict.py", "known = images.labelled & (found[0][:, 0] >= 0)", "known = images.labelled",
     "tests/test_predict.py"),
    # What a message says to do.
    *[(file, *change, "tests/test_hints.py") for file, *change in (
        ("iters/elsewhere.py", "(folder / missing).is_file()", "False"),
        ("iters/elsewhere.py", "not os.path.isabs(file) and not os.path.lexists(file)", "not os.path.isabs(file)"),
        ("iters/image_source.py", "return elsewhere(self._images.path,", "return '' and (self._images.path,"),
        ("iters/image_list.py", "_separator(line) if len(fields) == 1 else None", "_separator(line)"),
        ("records/check.py", "hint = elsewhere(images.path, images.files)", 'hint = ""'),
        ("records/check.py", "    if not path.is_file():\n        return {}\n    images", "    images"),
        ("training/start.py", "    if not saved_epochs(told.pretrained_model):\n", "    if False:\n"),
        ("training/domains.py", "if data.no_validation and not data.source_validation:", "if data.no_validation:"))],
    # How well a network does.
    *[(file, *change, "tests/test_evaluate.py") for file, *change in (
        ("inference/calibration.py", "np.ceil(confidence * num_bins).astype(int) - 1",
         "(confidence * num_bins).astype(int)"),
        ("inference/calibration.py", "        some = self.counts > 0\n", "        some = self.counts >= 0\n"),
        ("inference/calibration.py", "logits - logits.max(axis=1, keepdims=True)", "logits"),
        ("inference/confusion.py", "np.asarray(labels, np.int64) * num_classes + np.asarray(predicted, np.int64)",
         "np.asarray(predicted, np.int64) * num_classes + np.asarray(labels, np.int64)"),
        ("inference/confusion.py", "np.diag(matrix), matrix.sum(axis=1))", "np.diag(matrix), matrix.sum(axis=0))"),
        ("inference/report.py", "self.images.labelled & (self.predicted >= 0)", "self.images.labelled"),
        ("inference/report.py", "(self.ranks[counted] < _FIVE)", "(self.ranks[counted] <= _FIVE)"),
        ("inference/report.py", " + ((log_p == of_label) & before).sum(axis=1)", ""),
        ("inference/report.py", "    check_labels(images, classes, checkpoint.name)\n", ""),
        ("inference/report.py", "    with making_folder(folder, EVALUATION if overwrite else ()) as folder:\n",
         "    folder.mkdir()\n    if folder:\n"),
        ("base/files.py", "        shutil.rmtree(temporary, ignore_errors=True)\n", "        pass\n"),
        ("inference/pictures.py", 'short = [name.replace("$", "\\\\$") for name in short]', "pass"))],
    # Files of strangers.
    *[("exchange/pickle_machine.py", *change, "tests/test_torch_file.py") for change in (
        ("        elif type(made) is not Ordered or type(state) is not dict:\n", "        elif False:\n"),
        ("        self.spend(len(items)) ", "        pass "), ("        self.spend(1)\n", ""),
        ("            raise Refused(name)\n", "            pass\n"),
        ("if type(key) is tuple and len(key) < 10 else (key,)", "if False else ()"))],
    *[("exchange/numpy_pickle.py", *change, "tests/test_numpy_pickle.py") for change in (
        ("        if self.left < 0:\n", "        if False:\n"), ("if above + height >= _DEEPEST:", "if False:"),
        ("if self.values is not None or type(state)", "if type(state)"),
        ("        if not _CODES.fullmatch(code):\n", "        if False:\n"),
        ("or len(content) != math.prod(shape) * kind.dtype.itemsize:", "or False:"),
        ('order=order).astype(kind.dtype.newbyteorder("="), copy=False)', "order=order)"),
        ('"F" if fortran else "C"', '"C"'), ('kind.name != "numpy.ndarray"', "False"),
        ("if any(part is not None for part in state[2:5]) or", "if"),
        ("reader.plain(_inside(value) if header else value)", "value"))],
    ("exchange/pickle_machine.py", 'operation.name == "STRING"', "False", "tests/test_numpy_pickle.py"),
    *[(file, *change, "tests/test_published.py") for file, *change in (
        ("records/published.py", "        source = part(source, divided(", "        _ = part(source, divided("),
        ("records/published.py", "validation / (validation + test), seed=seed", "0.9, seed=seed"),
        ("records/published.py", '"gtsrb": (0.33, 0)', '"gtsrb": (0.2, 0)'),
        ("records/published.py", '"cifar10": (0.2, 0)', '"cifar10": (0.33, 0)'),
        ("records/published.py", "1 - sum(parts), seed=seed)", "1 - sum(parts))"),
        ("records/image_packs.py", ".transpose(0, 2, 3, 1)", ".transpose(0, 3, 2, 1)"),
        ("records/image_packs.py", "cv2.cvtColor(image, cv2.COLOR_RGB2BGR)", "image"),
        ("records/image_packs.py", " or path.read_bytes() != content", ""),
        ("records/image_packs.py", "not path.is_file() or path.read_bytes() != content", "True"),
        ("records/image_packs.py", "labels.ravel()", "labels"), 
        ("records/image_packs.py", "not 0 <= labels.min() <= labels.max() < classes", "False"))],
    *[(file, *change, "tests/test_caffe_networks.py") for file, *change in (
        ("exchange/weights.py", "value = value[:, ::-1] if value.shape[1] == 3 else value", "pass"),
        ("exchange/weights.py", ".transpose(2, 0, 1, 3)", ".transpose(0, 1, 2, 3)"),
        ("exchange/weights.py", "value.shape[0] == np.prod(shape)", "True"),
        ("exchange/weights.py", "value.transpose(3, 2, 0, 1)", "value.transpose(3, 2, 1, 0)"),
        ("symbols/caffe_networks.py", "knorm=1", "knorm=2"), ("symbols/caffe_networks.py", "alpha=1e-4", "alpha=2e-5"),
        ("exchange/architectures.py", "122.679, 116.669, 104.007", "104.007, 116.669, 122.679"),
        ("exchange/state_dict.py", ' and part.dtype.kind == "f"', ""))],
    *[(file, *change, "tests/test_train_classifier.py") for file, *change in (
        ("iters/rows.py", ".permutation(number) if self._shuffle else", ".permutation(number) if True else"),
        ("iters/rows.py", "default_rng((self._seed, epoch))", "default_rng(self._seed)"),
        ("iters/rows.py", "self._views[epoch % len(self._views)] if", "self._views[0] if"),
        ("iters/rows.py", "number * batch // batches for", "number // batches * batch for"),
        (CLASSIFIER, "wd=options.wd,", "wd=0,"), (CLASSIFIER, "optimizer=options.optimizer,", 'optimizer="adam",'),
        (CLASSIFIER, "overwrite=overwrite, keep=1)", "overwrite=overwrite)"),
        (CLASSIFIER, "        mx.random.seed(options.seed)\n", ""),
        (CLASSIFIER, "                   training.views)", ")"),
        (CLASSIFIER, "_NO_NULL_LABEL = -1", "_NO_NULL_LABEL = 9999"),
        (CLASSIFIER, "        check_together(training, part)\n", "        pass\n"),
        (CLASSIFIER, "            record.mend()\n", "            pass\n"),
        (CLASSIFIER, "np.lexsort((drawn, labels))", "np.argsort(drawn)"),
        (CLASSIFIER, "part[np.argsort(order[part])]", "np.sort(part)"),
        (CLASSIFIER, "rest, left = rest[~taken], left - share", "rest, left = rest[~taken], left"),
        (CLASSIFIER, '"training": training.digest,', '"training": None,'),
        (LABELLED, "source.digest, source.layer, ", "source.layer, "),
        (LABELLED, "source.image_shape, source.resize)", "source.image_shape)"),
        (LABELLED, "views=self.views[:, places]", "views=self.views"),
        (LABELLED, "if kinds[0] != kinds[1]:", "if False:"), (LABELLED, "& (labels == np.floor(labels))", ""),
        (LABELLED, "if (other.values.shape, other.digest) ==", "if False and (other.values.shape, other.digest) =="),
        ("train_classifier.py", 'name.replace("_", "-")', "name"),
        ("symbols/new_layers.py", "return mx.init.Normal(self.sigma).dumps()", "return super().dumps()"))],
    ("symbols/new_layers.py", "_truncated_normal(0.1), mx.init.Zero()", "mx.init.Normal(0.1), mx.init.Zero()",
     "tests/test_new_layers.py"),
    *[("exchange/torch_file.py", *change, "tests/test_torch_file.py") for change in (
        ("if self.size and (last + 1)", "if False and (last + 1)"), ("key[:1] != (\"storage\",)", "False"),
        ("        if size > _LARGEST_PIECE:\n", "        if False:\n"),
        ("        if self.content.tell() > begin + size:\n", "        if False:\n"),
        ("if count * _item_size(root.kind) > size:", "if False:"),
        ("root.file.byte_order + kind", '"<" + kind'), ("self._storage.first * _item_size(root.kind)", "0"))],
    ("exchange/state_dict.py", "if numbers > path.stat().st_size + 2**18:", "if False:", "tests/test_torch_file.py"),
    # What a message says, and what can be imported.
    ("cli/exit_codes.py", "        _typed.set(context.command_path)\n", "",
     "tests/test_flags.py::test_messages_begin_with_what_was_typed"),
    *[("cli/help.py", *change, "tests/test_help.py") for change in (
        ("        write_examples(self.examples, context, formatter)\n", "        pass\n"),
        ('lines[-1] += " \\\\"', "pass"), ("only_help = len(found[_OTHERS]) == 1", "only_help = False"),
        ("min(shutil.get_terminal_size().columns, _WIDEST)", "_WIDEST"), ('return f"python {', 'return f"{'))],
    ("cli/exit_codes.py", "        _typed.set(None)\n", "",
     "tests/test_flags.py::test_messages_begin_with_what_was_typed"),
    ("base/errors.py", 'f"`{name}` was given', 'f"--{name} was given',
     "tests/test_flags.py::test_a_command_puts_its_words_in_the_place_of_parameters"),
    ("base/gluoncv_zoo.py", "mx.nd  # noqa: B018\n", "",
     "tests/test_base.py::test_the_zoo_can_be_the_first_thing_that_is_imported"),
    ("training/versions.py", "git_revision(_ROOT) or __version__", "git_revision(_ROOT)",
     "tests/test_package.py::test_what_is_installed_gives_every_name_and_its_version"),
]


def survives(number):
    """Whether the tests pass in spite of the mutation; a sentence if so, or if it cannot be made."""
    file, before, after, tests = MUTATIONS[number]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "project")
        shutil.copytree(ROOT, copy, symlinks=True,
                        ignore=shutil.ignore_patterns(".git", ".venv", "runs", "data", "model", "*.pyc"))
        text = (copy / file).read_text()
        if text.count(before) != 1:
            return f"{file}: {before!r} stands there {text.count(before)} times"
        (copy / file).write_text(text.replace(before, after))
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()],
                              cwd=copy, capture_output=True, text=True)
    # Python may end by a signal where a guard against just that is taken away.
    if done.returncode == 1 or done.returncode < 0:
        return None
    return f"{file}: {before!r} became {after!r}, and {tests} ended with {done.returncode}: {done.stdout[-300:]}"


def main():
    """Try every mutation, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        survivors = [said for said in pool.map(survives, range(len(MUTATIONS))) if said]
    print(*survivors, f"{len(MUTATIONS) - len(survivors)} of {len(MUTATIONS)} mutations were noticed", sep="\n")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
