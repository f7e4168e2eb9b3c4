-- Groups by the text of a time.
CREATE TABLE group_by_day (minute_ VARCHAR, n BIGINT) WITH (${sink});

INSERT INTO group_by_day
SELECT DATE_FORMAT(`dateTime`, 'yyyy-MM-dd HH:mm'), count(*)
FROM bid GROUP BY DATE_FORMAT(`dateTime`, 'yyyy-MM-dd HH:mm');
