"""Fine-tuning on (Super)GLUE, CoLA, SST-2, QNLI and SQuAD."""
